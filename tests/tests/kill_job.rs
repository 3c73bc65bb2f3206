//! Goal: a job that is killed again and again ends as one that nobody touched. Method: `kill -9` at random instants, each
//! time the same command again; then keys, vectors, documents, counts and the report are compared with those of an
//! undisturbed run, bit for bit.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fromagerie::{Database, JobState, Options, StoredItem};

const KILLS: u64 = 50;
const PICTURES: u32 = 320;

/// What a finished job left.
#[derive(PartialEq)]
struct Left {
    items: Vec<StoredItem>,
    counts: [usize; 5],
    failures: String,
}

fn command(db: &Path, pictures: &Path) -> Command {
    let mut command = common::fromagerie(&["ingest", "--json", "--batch", "8", "--with-features", "--collection", "c"]);
    command.args(["--skip-duplicates", "--db"]).arg(db).arg("--bundle").arg(common::tiny_bundle()).arg(pictures);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn left(db: &Path) -> Left {
    let db = Database::open_with(db, Options { create: false, ..Options::default() }).unwrap();
    assert!(db.verify(&mut |_| {}).unwrap().is_clean());
    let jobs = db.jobs().unwrap();
    // The same command goes on with the same job, unless that had ended just before the process was killed.
    let (wrote, others): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| job.progress.report.written > 0);
    assert!(wrote.len() == 1 && others.iter().all(|job| job.progress.report.failed == wrote[0].progress.report.failed));
    let job = wrote[0];
    assert_eq!(job.state, JobState::Succeeded);
    let collection = db.open_collection("c").unwrap();
    let items = (0..PICTURES).filter_map(|n| collection.get(&format!("{n:05}.png")).unwrap()).collect::<Vec<_>>();
    assert_eq!(items.len(), collection.len());
    let report = job.progress.report;
    let counts = [report.found, report.written, report.unchanged, report.skipped, report.failed];
    Left { items, counts, failures: std::fs::read_to_string(db.job_failures(&job.id).unwrap()).unwrap() }
}

#[test]
fn a_job_that_is_killed_ends_as_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    common::fill(&pictures, PICTURES);
    for n in (17..PICTURES).step_by(60) {
        std::fs::write(pictures.join(format!("{n:05}.png")), "no picture").unwrap();
    }
    for n in (40..PICTURES).step_by(90) {
        std::fs::copy(pictures.join("00001.png"), pictures.join(format!("{n:05}.png"))).unwrap();
    }
    let undisturbed = folder.path().join("undisturbed");
    let begun = Instant::now();
    assert_eq!(command(&undisturbed, &pictures).status().unwrap().code(), Some(1));
    let alone = begun.elapsed();
    let expected = left(&undisturbed);
    assert_eq!((expected.counts[2], expected.items.len()), (0, expected.counts[1]));

    let (mut kills, mut rounds) = (0, 0);
    while kills < KILLS {
        rounds += 1;
        let db = folder.path().join(format!("killed-{rounds}"));
        loop {
            let mut child = command(&db, &pictures).spawn().unwrap();
            let until = Instant::now() + delay(kills, alone);
            let ended = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break Some(status),
                    None if Instant::now() >= until => break None,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            if let Some(status) = ended {
                assert_eq!(status.code(), Some(1), "the command failed of itself");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        let found = left(&db);
        assert_eq!(found.counts, expected.counts, "found, written, unchanged, skipped, failed");
        assert!(found.failures == expected.failures, "{}", found.failures);
        assert!(found.items == expected.items, "an item differs");
    }
    println!("{kills} kills of {rounds} jobs of {PICTURES} records; undisturbed {alone:?}");
}

/// From the first instants of the process to most of what the whole job takes.
fn delay(kill: u64, alone: Duration) -> Duration {
    let scattered = (kill + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    alone.mul_f64(0.7 * scattered as f64 / 1024.0)
}
