//! Goal: a session or a job that was acknowledged is there, whenever the process dies. Method: `kill -9` at random instants
//! of a process that writes them one after the other and says so, and a look by the next one, again and again, of many young
//! databases and an old one.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::random::{Random, torture};
use fromagerie_storage::Store;

/// Where the writing process finds the database.
const DATABASE: &str = "FROMAGERIE_TEST_DATABASE";
/// Kills of each young database, and how many of these there are; the last is then killed as often again.
const KILLS: u32 = 6;
const DATABASES: u32 = 10;

#[test]
fn a_record_that_was_acknowledged_survives_kill_nine() {
    if let Some(dir) = std::env::var_os(DATABASE) {
        write_until_killed(dir.as_ref());
    }
    let (mut random, mut acknowledged) = (Random::new(7), 0);
    let databases = if torture() { DATABASES * 20 } else { DATABASES };
    for database in 0..databases {
        let dir = tempfile::tempdir().unwrap();
        let kills = if database + 1 < databases { KILLS } else { KILLS * databases };
        acknowledged += kill(dir.path(), kills, &mut random);
    }
    println!("{} kills, {acknowledged} acknowledged records", (2 * databases - 1) * KILLS);
    assert!(acknowledged > 100, "only {acknowledged} writes: the kills came too early to show anything");
}

/// How many records were acknowledged.
fn kill(dir: &Path, kills: u32, random: &mut Random) -> u64 {
    let mut acknowledged = 0;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_record_that_was_acknowledged_survives_kill_nine", "--nocapture"])
            .env(DATABASE, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A line that the kill cut in half was not acknowledged.
        let told = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(random.below(120) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in told.join().unwrap() {
            assert!(!line.starts_with("wrong"), "kill {kill}, {acknowledged} was acknowledged: {line}");
            if let Some(found) = line.strip_prefix("found ").and_then(|line| line.strip_suffix(".")) {
                let found: u64 = found.parse().unwrap();
                assert!(found >= acknowledged, "kill {kill}: {found} was found, {acknowledged} was acknowledged");
            } else if let Some(written) = line.strip_prefix("written ").and_then(|line| line.strip_suffix(".")) {
                acknowledged = written.parse().unwrap();
            }
        }
    }
    acknowledged
}

fn write_until_killed(dir: &Path) -> ! {
    let mut out = std::io::stdout();
    // The test's own harness leaves a line open.
    writeln!(out).unwrap();
    let store = Store::open(dir, common::options()).unwrap_or_else(|error| {
        writeln!(out, "wrong: {error}").unwrap();
        std::process::exit(1)
    });
    let read = |value: Option<Vec<u8>>| value.map_or(0, |value| u64::from_le_bytes(value[..8].try_into().unwrap()));
    let (session, job) = (read(store.session("s").unwrap()), read(store.job("j").unwrap()));
    if !store.notes().is_empty() || !(job..=job + 1).contains(&session) {
        writeln!(out, "wrong: the session is {session}, the job {job}, {:?}", store.notes()).unwrap();
    }
    writeln!(out, "found {job}.").unwrap();
    for n in job + 1.. {
        let mut value = n.to_le_bytes().to_vec();
        value.resize(700 + n as usize % 300, b'x');
        store.put_session("s", &value).unwrap();
        store.put_job("j", &value).unwrap();
        writeln!(out, "written {n}.").unwrap();
    }
    unreachable!("it is killed")
}
