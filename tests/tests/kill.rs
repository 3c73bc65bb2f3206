//! Goal: what was acknowledged is there, whenever the process dies. Method: `kill -9` during ingest, fifty times at
//! random instants, and a look at every key that the process had acknowledged before it died.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fromagerie::{Database, Options};

const KILLS: u64 = 50;

#[test]
fn every_acknowledged_item_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, db) = (folder.path().join("pictures"), folder.path().join("cellar"));
    std::fs::create_dir(&pictures).unwrap();
    common::fill(&pictures, 3000);
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut slowest_open, until_first) = (Duration::ZERO, until_first(&folder.path().join("undisturbed"), &pictures));
    for kill in 0..KILLS {
        // Five collections, so that most kills hit one that holds earlier rows and an unfinished journal.
        let collection = format!("c{}", kill % 5);
        let known = acknowledged.entry(collection.clone()).or_default();
        known.extend(ingest_and_kill(&db, &pictures, &collection, delay(kill, until_first)));
        let begun = Instant::now();
        let opened = Database::open_with(&db, Options { create: false, ..Options::default() }).unwrap();
        slowest_open = slowest_open.max(begun.elapsed());
        for (name, keys) in &acknowledged {
            let collection = opened.open_collection(name);
            let collection = match collection {
                Err(error) if keys.is_empty() => {
                    assert_eq!(error.reason(), "UNKNOWN_COLLECTION");
                    continue;
                }
                other => other.unwrap(),
            };
            for key in keys {
                assert!(collection.get(key).unwrap().is_some(), "kill {kill}: {name} lost {key}");
            }
        }
        assert!(opened.verify(&mut |_| {}).unwrap().is_clean());
    }
    let total: usize = acknowledged.values().map(Vec::len).sum();
    println!(
        "{KILLS} kills, {total} acknowledged writes, the first after {until_first:?}, slowest open {slowest_open:?}"
    );
    assert!(total > 1000, "only {total} writes were acknowledged: the kills came too early to show anything");
}

/// A time that differs from kill to kill: from the first instants of opening to the middle of the work, however fast the machine is.
fn delay(kill: u64, until_first: Duration) -> Duration {
    let scattered = (kill + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    until_first.mul_f64(1.8 * scattered as f64 / 1024.0)
}

/// How long it takes until something is acknowledged.
fn until_first(db: &std::path::Path, pictures: &std::path::Path) -> Duration {
    let begun = Instant::now();
    let mut child = ingest(db, pictures, "undisturbed").spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let written = lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .find(|event: &serde_json::Value| event["event"] == "written");
    let took = begun.elapsed();
    assert!(written.is_some(), "nothing was written");
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

fn ingest(db: &std::path::Path, pictures: &std::path::Path, collection: &str) -> Command {
    let mut command = common::fromagerie(&["ingest", "--json", "--batch", "16", "--collection", collection, "--db"]);
    command.arg(db).arg("--bundle").arg(common::tiny_bundle()).arg(pictures);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The keys that the process acknowledged before it was killed.
fn ingest_and_kill(db: &std::path::Path, pictures: &std::path::Path, collection: &str, delay: Duration) -> Vec<String> {
    let mut child = ingest(db, pictures, collection).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut keys = Vec::new();
        // A line that the kill cut in half was not acknowledged.
        for line in stdout.lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { break };
            if event["event"] == "written" {
                keys.extend(event["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()));
            }
        }
        keys
    });
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}
