//! Goal: whatever a crash leaves of a run, the store opens by itself, with every acknowledged write and no half of one.
//! Method: runs on a simulated disk; at every event of each run, many disks that a loss of power may leave there, and the
//! one that a killed process leaves. Each must open, compare with the map, verify, take a write and keep it through
//! another loss of power; with the catalog as it was, older, or gone. Of some, recovery itself is cut short by a second
//! loss of power or an error.
//!
//! Runs are numbered from 0 and repeat: `FROMAGERIE_SEED=<number>` tries one of them alone. `FROMAGERIE_TORTURE=1` tries
//! more than ten times as many.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use common::meddler::MEDDLED;
use common::random::{Random, seed, torture};
use common::recovery::{Allowed, fail_once, lose_power_again, recover_and_go_on};
use common::workload;
use fromagerie_storage::backend::simulated::{CatalogLoss, Loss, Replay};

const STEPS: usize = 60;
/// Disks that are drawn at an event for each change that is not synced there, and at most; equal ones count once.
const DRAWS_A_CHANGE: usize = 8;
const DRAWS_MAX: usize = 40;

/// What was tried.
#[derive(Default)]
struct Tally {
    runs: AtomicU64,
    events: AtomicU64,
    images: AtomicU64,
    kills: AtomicU64,
    power_losses_in_recovery: AtomicU64,
    errors_in_recovery: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} runs of {STEPS} steps, {} events: {} different disks after a loss of power (each with the catalog gone, and \
             as it was at some time), {} after a kill; recovery met {} more losses of power and {} errors",
            of(&self.runs),
            of(&self.events),
            of(&self.images),
            of(&self.kills),
            of(&self.power_losses_in_recovery),
            of(&self.errors_in_recovery),
        )
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn every_disk_that_a_crash_may_leave_recovers() {
    let (tally, begun) = (Tally::default(), Instant::now());
    let runs = if torture() { 56 } else { 3 };
    let seeds = seed().map_or(0..runs, |seed| seed..seed + 1);
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    crash_everywhere(seed, &tally);
                }
            });
        }
    });
    let meddled = MEDDLED.load(Ordering::Relaxed);
    println!("{tally}; batches came between in {meddled} merges; {:.1?}", begun.elapsed());
    if seed().is_none() {
        assert!(meddled >= 5, "{meddled} merges");
        assert!(tally.images.load(Ordering::Relaxed) >= if torture() { 200_000 } else { 20_000 }, "{tally}");
    }
}

fn crash_everywhere(seed: u64, tally: &Tally) {
    add(&tally.runs);
    let run = workload::run(seed, STEPS);
    let trace = run.disk.trace();
    let mut replay = trace.replay();
    let mut random = Random::new(seed);
    let mut seen = HashSet::new();
    let mut event = 0;
    while replay.step() {
        event += 1;
        add(&tally.events);
        let marks = replay.marks() as usize;
        let under_way = run.worlds.get(marks + 1).unwrap_or(&run.worlds[marks]);
        let allowed = Allowed { acknowledged: &run.worlds[marks], under_way };
        for loss in losses(replay.unsynced(), &mut random) {
            let image = replay.power_lost(loss, CatalogLoss::Nothing);
            if seen.insert((image.fingerprint(), marks)) {
                add(&tally.images);
                lose_power(&replay, loss, &allowed, &mut random, tally).unwrap_or_else(|error| {
                    panic!("run {seed}, event {event}, {loss:?}: {error}\nfound after: {tally}")
                });
            }
        }
        add(&tally.kills);
        kill(&replay, &allowed, &mut random, tally)
            .unwrap_or_else(|error| panic!("run {seed}, event {event}, killed: {error}\nfound after: {tally}"));
    }
}

/// What may be lost when so many changes are not synced: the plain cases, then some by chance.
fn losses(unsynced: usize, random: &mut Random) -> Vec<Loss> {
    if unsynced == 0 {
        return vec![Loss::Everything];
    }
    let mut losses = vec![Loss::Everything, Loss::Nothing, Loss::Content, Loss::Names];
    losses.extend((0..DRAWS_MAX.min(unsynced * DRAWS_A_CHANGE)).map(|_| Loss::Some(random.next())));
    losses
}

fn lose_power(
    replay: &Replay<'_>,
    loss: Loss,
    allowed: &Allowed<'_>,
    random: &mut Random,
    tally: &Tally,
) -> Result<(), String> {
    for catalog in [CatalogLoss::Everything, CatalogLoss::Since(random.next())] {
        let image = replay.power_lost(loss, catalog);
        recover_and_go_on(&image.killed(), allowed, catalog)
            .map_err(|error| format!("catalog {catalog:?}: {error}"))?;
        if random.chance(1, 6)
            && let Some(recovered) = lose_power_again(&image, allowed, random.next())
        {
            add(&tally.power_losses_in_recovery);
            recovered?;
        }
        if random.chance(1, 6) {
            add(&tally.errors_in_recovery);
            fail_once(&image, allowed, random.next())?;
        }
    }
    Ok(())
}

fn kill(replay: &Replay<'_>, allowed: &Allowed<'_>, random: &mut Random, tally: &Tally) -> Result<(), String> {
    let disk = replay.killed();
    recover_and_go_on(&disk.killed(), allowed, CatalogLoss::Nothing)?;
    if let Some(recovered) = lose_power_again(&disk, allowed, random.next()) {
        add(&tally.power_losses_in_recovery);
        recovered?;
    }
    add(&tally.errors_in_recovery);
    fail_once(&disk, allowed, random.next())
}
