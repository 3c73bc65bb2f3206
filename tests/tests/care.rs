//! Goal: the commands that look after a database say what they did, in both languages, with the exit code that it
//! deserves. Method: the binary over a small database: healthy, served, damaged, copied.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{Served, fill, fromagerie, json, tiny_bundle};
use serde_json::Value;

/// A database of 12 pictures, sealed, in one collection.
fn cellar(folder: &Path) -> PathBuf {
    let (db, source) = (folder.join("cellar"), folder.join("pictures"));
    std::fs::create_dir(&source).unwrap();
    fill(&source, 12);
    let mut command = fromagerie(&["ingest", "--collection", "pictures", "--db"]);
    let (code, lines, says) = json(command.arg(&db).arg("--bundle").arg(tiny_bundle()).arg(&source), "");
    assert_eq!(code, 0, "{lines:?} {says}");
    db
}

/// Runs a command of this database; its exit code, its last line and its error text.
fn run(command: &str, db: &Path, more: &[&str]) -> (i32, Value, String) {
    let (code, lines, says) = json(fromagerie(&[command, "--db"]).arg(db).args(more), "");
    (code, lines.last().cloned().unwrap_or_default(), says)
}

/// The only file below a directory whose name begins so.
fn file(dir: &Path, prefix: &str) -> PathBuf {
    let collection = std::fs::read_dir(dir.join("collections")).unwrap().next().unwrap().unwrap().path();
    let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    std::fs::read_dir(collection).unwrap().map(|entry| entry.unwrap().path()).find(named).unwrap()
}

#[test]
fn a_database_is_measured_compacted_copied_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let db = cellar(folder.path());
    let (code, stats, _) = run("stats", &db, &[]);
    let collection = &stats["collections"][0];
    assert_eq!((code, collection["items"].as_u64(), collection["dead_rows"].as_u64()), (0, Some(12), Some(0)));
    assert_eq!(collection["part_bytes"]["vectors"].as_u64(), Some(12 * 6 * 4));
    assert_eq!(run("compact", &db, &[]).0, 0);
    let (snapshot, again) = (folder.path().join("snap"), folder.path().join("again"));
    let (code, taken, says) = run("snapshot", &db, &[snapshot.to_str().unwrap()]);
    assert_eq!((code, taken["items"].as_u64()), (0, Some(12)), "{says}");
    let mut restore = fromagerie(&["restore"]);
    let (code, lines, says) = json(restore.arg(&snapshot).arg(&again), "");
    assert_eq!((code, lines.last().unwrap()["items"].as_u64()), (0, Some(12)), "{says}");
    let (code, verified, says) = run("verify", &again, &[]);
    assert_eq!((code, verified["rows"].as_u64(), verified["damages"].as_u64()), (0, Some(12), Some(0)), "{says}");
    // What is there is not overwritten, and a snapshot is not opened.
    let (code, _, says) = run("snapshot", &db, &[snapshot.to_str().unwrap()]);
    assert!(code == 2 && says.contains("is not empty"), "{says}");
    let (code, _, says) = run("verify", &snapshot, &[]);
    assert!(code == 2 && says.contains("is a snapshot"), "{says}");
    let (code, lines, _) = json(fromagerie(&["restore"]).arg(&db).arg(folder.path().join("x")), "");
    assert_eq!((code, lines.last().unwrap()["error"]["reason"].as_str()), (2, Some("NOT_A_SNAPSHOT")));
}

#[test]
fn damage_is_found_judged_and_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let db = cellar(folder.path());
    let path = file(&db, "segment-");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, lines, _) = json(fromagerie(&["verify", "--db"]).arg(&db), "");
    assert_eq!(code, 3);
    let damage = lines.iter().find(|line| line["event"] == "damage").unwrap();
    assert_eq!((damage["path"].as_str(), damage["offset"].as_u64()), (path.to_str(), Some(64)));
    let risk = lines.iter().find(|line| line["event"] == "risk").unwrap();
    assert_eq!(risk["loss"]["lost"].as_u64(), Some(12));
    let other = folder.path().join("snap");
    let (code, _, says) = run("snapshot", &db, &[other.to_str().unwrap()]);
    assert!(code == 3 && says.contains("damaged") && !other.exists(), "{says}");

    let (code, lines, _) = json(fromagerie(&["repair", "--db"]).arg(&db), "");
    assert_eq!((code, std::fs::read(&path).unwrap()), (3, bytes), "looking changes nothing");
    assert_eq!(lines.iter().filter(|line| line["event"] == "lost").count(), 12, "every key is named");
    let (code, summary, _) = run("repair", &db, &["--write"]);
    assert_eq!((code, summary["lost"].as_u64(), summary["written"].as_bool()), (1, Some(12), Some(true)));
    assert!(file(&db, "damaged-").join(path.file_name().unwrap()).is_file());
    assert_eq!(run("verify", &db, &[]).0, 0);
    let (code, summary, _) = run("repair", &db, &["--write", "--collection", "pictures"]);
    assert_eq!((code, summary["clean"].as_bool()), (0, Some(true)));
    let (code, _, says) = run("repair", &db, &["--collection", "none"]);
    assert!(code == 2 && says.contains("known: pictures"), "{says}");
}

#[test]
fn a_served_database_is_read_beside_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let db = cellar(folder.path());
    let _server = Served::start(&db, Some(&tiny_bundle()), &[]);
    let (code, _, says) = run("stats", &db, &[]);
    assert!(
        code == 2 && says.contains("pid") && says.contains("(fromagerie serve)") && says.contains(" UTC"),
        "{says}"
    );
    let (code, stats, says) = run("stats", &db, &["--read-only"]);
    assert_eq!((code, stats["collections"][0]["items"].as_u64()), (0, Some(12)), "{says}");
    let (code, verified, says) = run("verify", &db, &["--read-only"]);
    assert_eq!((code, verified["rows"].as_u64()), (0, Some(12)), "{says}");
    assert!(verified["records"].is_null(), "sessions are the server's");
    let search = ["--read-only", "--collection", "pictures", "--key", "00003.png", "--bundle"];
    let mut command = fromagerie(&["search", "--db"]);
    let (code, lines, says) = json(command.arg(&db).args(search).arg(tiny_bundle()), "");
    assert_eq!((code, lines.last().unwrap()["hits"].as_array().map(Vec::len)), (0, Some(10)), "{says}");
}
