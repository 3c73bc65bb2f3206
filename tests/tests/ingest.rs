//! Goal: the command takes any source, says what it left out and where, and ends with the exit code it deserves.
//! Method: the binary, with files that other tools wrote (`engine/tests/fixtures/sources`), whole and broken.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{fill, fromagerie, json, png, root, tiny_bundle};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    root().join("engine/tests/fixtures/sources").join(name)
}

/// Runs `ingest` into `collection`; the exit code, the lines, and what it said to people.
fn ingest(db: &Path, collection: &str, sources: &[&Path], arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let mut command = fromagerie(&["ingest", "--collection", collection, "--db"]);
    json(command.arg(db).args(sources).args(arguments), "")
}

#[test]
fn a_broken_shard_is_reported_to_the_file_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let shard = |at: u32| folder.path().join(format!("{at:05}.tar"));
    std::fs::copy(fixture("wds-00000.tar"), shard(0)).unwrap();
    let whole = std::fs::read(fixture("wds-00001.tar")).unwrap();
    std::fs::write(shard(1), &whole[..5000]).unwrap();
    let (db, report) = (folder.path().join("cellar"), folder.path().join("failed.jsonl"));
    let (pattern, bundle) = (folder.path().join("{00000..00001}.tar"), tiny_bundle());
    let arguments = ["--report", report.to_str().unwrap(), "--bundle", bundle.to_str().unwrap()];
    let (code, lines, _) = ingest(&db, "web", &[&pattern], &arguments);
    let summary = lines.last().unwrap();
    assert_eq!((code, summary["written"].as_u64(), summary["failed"].as_u64()), (1, Some(4), Some(1)), "{summary}");
    let written = std::fs::read_to_string(&report).unwrap();
    let failure: Value = serde_json::from_str(written.trim()).unwrap();
    assert_eq!((failure["key"].as_str(), failure["offset"].as_u64()), (Some("1/cyan"), Some(4096)), "{failure}");
    assert_eq!((failure["stage"].as_str(), failure["reason"].as_str()), (Some("read"), Some("TRUNCATED_SOURCE")));
    assert!(failure["source"].as_str().unwrap().ends_with("00001.tar"), "{failure}");

    std::fs::write(shard(1), whole).unwrap();
    let (code, lines, _) = ingest(&db, "web", &[&pattern], &arguments);
    let summary = lines.last().unwrap();
    assert_eq!((code, summary["written"].as_u64(), summary["unchanged"].as_u64()), (0, Some(1), Some(4)), "{summary}");
}

#[test]
fn vectors_need_no_model_and_stay_out_of_a_models_space() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("cellar");
    let keys = fixture("wide.keys.npy");
    let matrix = fixture("vectors-f8.npy");
    let (code, lines, says) = ingest(&db, "rows", &[&matrix], &["--keys", keys.to_str().unwrap()]);
    assert_eq!((code, lines.last().unwrap()["written"].as_u64()), (0, Some(5)), "{says}");
    let mut search = fromagerie(&["search", "--collection", "rows", "--key", "ccc", "--limit", "2", "--db"]);
    assert_eq!(json(search.arg(&db), "").0, 0);
    for name in ["embeddings-4.pkl", "fixed.parquet", "vectors.arrow"] {
        let (code, lines, says) = ingest(&db, "rows", &[&fixture(name)], &[]);
        assert_eq!((code, lines.last().unwrap()["written"].as_u64()), (0, Some(5)), "{name}: {says}");
    }
    let (code, _, says) = ingest(&db, "new", &[&fixture("evil.pkl")], &[]);
    assert!(code == 2 && says.contains("would call posix.system"), "{code}: {says}");
    let (code, _, says) = ingest(&db, "rows", &[&fixture("evil.pkl")], &[]);
    assert!(code == 1 && !Path::new("/tmp/fromagerie-was-here").exists(), "{code}: {says}");
}

#[test]
fn what_cannot_be_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (db, bundle) = (folder.path().join("cellar"), tiny_bundle());
    let table = folder.path().join("t.csv");
    std::fs::write(&table, "name,size\na,1\n").unwrap();
    let unknown = folder.path().join("notes.xyz");
    std::fs::write(&unknown, "notes").unwrap();
    let bundle = ["--bundle", bundle.to_str().unwrap()];
    let (code, _, says) = ingest(&db, "c", &[&table], &bundle);
    assert!(code == 2 && says.contains("--image-column") && says.contains("name, size"), "{code}: {says}");
    let (code, _, says) = ingest(&db, "c", &[&unknown], &bundle);
    assert!(code == 2 && says.contains("--format"), "{code}: {says}");
    let (code, _, says) = ingest(&db, "c", &[&table], &["--format", "word"]);
    assert!(code == 2 && says.contains("parquet"), "{code}: {says}");
    // What can be known before is not found wrong after all was read.
    let rows = folder.path().join("rows.jsonl");
    std::fs::write(&rows, "{\"key\": \"a\", \"vector\": [1, 2]}\n").unwrap();
    for (wrong, remedy) in [
        (&["--sync", "--watch"][..], "--watch follows a folder"),
        (&["--near-duplicates", "5"], "--near-duplicates is 5"),
        (&["--report", "/nowhere/at/all"], "--report /nowhere/at/all"),
    ] {
        let (code, lines, says) = ingest(&db, "rows", &[&rows], wrong);
        assert!(code == 2 && says.contains(remedy), "{code}: {says}");
        assert!(lines.iter().all(|line| line["event"] != "summary"), "nothing was read: {lines:?}");
    }
}

#[test]
fn addresses_of_this_machine_are_not_fetched_unless_allowed() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/red.png", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let picture = png([255, 0, 0]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", picture.len());
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&[head.as_bytes(), &picture].concat());
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("cc3m.tsv");
    std::fs::write(&table, format!("a red field\t{url}\n")).unwrap();
    let (db, bundle) = (folder.path().join("cellar"), tiny_bundle());
    let bundle = ["--bundle", bundle.to_str().unwrap()];
    let (code, lines, _) = ingest(&db, "c", &[&table], &bundle);
    let failure = lines.iter().find(|line| line["event"] == "failed").unwrap();
    assert_eq!(
        (code, failure["reason"].as_str(), failure["stage"].as_str()),
        (1, Some("PRIVATE_ADDRESS"), Some("fetch"))
    );
    let (code, lines, _) = ingest(&db, "c", &[&table], &[&bundle[..], &["--allow-private-addresses"]].concat());
    assert_eq!((code, lines.last().unwrap()["written"].as_u64()), (0, Some(1)));
}

#[test]
fn a_folder_that_is_followed_and_its_collection_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (db, pictures) = (folder.path().join("cellar"), folder.path().join("pictures"));
    std::fs::create_dir(&pictures).unwrap();
    fill(&pictures, 3);
    let bundle = tiny_bundle();
    let mut command =
        fromagerie(&["ingest", "--sync", "--watch", "--watch-every", "0.1", "--json", "--collection", "web"]);
    let command = command.arg("--bundle").arg(&bundle).arg("--db").arg(&db).arg(&pictures);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut next = |event: &str| events.find(|line| line["event"] == event).expect("it ended");

    next("following");
    std::fs::write(pictures.join("new.png"), png([1, 2, 3])).unwrap();
    let added = next("followed");
    assert_eq!((added["written"].as_u64(), added["removed"].as_u64()), (Some(1), Some(0)), "{added}");
    // Another length too: a time of change alone may be as coarse as the clock.
    std::fs::write(pictures.join("00001.png"), std::fs::read(common::picture("rgb.jpg")).unwrap()).unwrap();
    let changed = next("followed");
    assert_eq!((changed["written"].as_u64(), changed["removed"].as_u64()), (Some(1), Some(0)), "{changed}");
    std::fs::remove_file(pictures.join("00002.png")).unwrap();
    let removed = next("followed");
    assert_eq!((removed["written"].as_u64(), removed["removed"].as_u64()), (Some(0), Some(1)), "{removed}");
    // As when what is mounted there goes away, and comes back.
    let away = folder.path().join("away");
    std::fs::create_dir(&away).unwrap();
    let carry = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::rename(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    };
    carry(&pictures, &away);
    next("emptied");
    carry(&away, &pictures);
    std::fs::write(pictures.join("last.png"), png([3, 2, 1])).unwrap();
    let back = next("followed");
    assert_eq!((back["written"].as_u64(), back["removed"].as_u64()), (Some(1), Some(0)), "{back}");
    child.kill().unwrap();
    child.wait().unwrap();

    let (code, lines, says) = ingest(&db, "web", &[&pictures], &["--sync", "--bundle", bundle.to_str().unwrap()]);
    let summary = lines.last().unwrap();
    let counts = ["written", "unchanged", "removed"].map(|name| summary[name].as_u64());
    assert_eq!((code, counts), (0, [Some(0), Some(4), Some(0)]), "{summary} {says}");
}
