//! Goal: a mapped file that another program cuts short ends the process that reads it, and nothing else. Method: this
//! test runs itself as a child that opens a database and maps its segments; the file is cut under it; the child reads on.
//! Whatever became of the child, the database opens again: damage is named while the file is short, and everything is
//! there once the file is.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use common::{contents, files, open, photos, put, spec};
use fromagerie_storage::{Batch, Op, SegmentBuilder, Source, Task};

const CHILD: &str = "FROMAGERIE_MAPPED_CHILD";
const SIGBUS: i32 = 7;

struct Graph;

impl SegmentBuilder for Graph {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        Some(vec![7; 1 << 20])
    }
}

/// A database whose one segment is long: its graph, which is written last, has a mebibyte.
fn fill(dir: &Path) {
    let collection = photos(&open(dir));
    collection.set_segment_builder(Arc::new(Graph));
    collection.write(Batch::new((0..100).map(|n| Op::Put(common::record(&format!("k{n}"), n))).collect())).unwrap();
    collection.seal().unwrap();
    collection.write(put("in the journal", 1)).unwrap();
}

/// What the child does: opens, reads one half, says so, waits for a line, reads the other.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&dir));
    let snapshot = store.collection("photos").unwrap().snapshot();
    assert_eq!(contents(&snapshot).len(), 101);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nmapped").unwrap();
    stdout.flush().unwrap();
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    let graph = snapshot.segments()[0].graph();
    // Only an error is as good an end as none at all: the bytes are gone.
    std::process::exit(if graph.is_err() { 3 } else { 4 });
}

fn start(dir: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "mapped\n" {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "the child ended before it had mapped anything");
    }
    (child, stdout)
}

fn go_on(mut child: Child) -> ExitStatus {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    child.wait().unwrap()
}

#[test]
fn a_mapped_file_cut_short_costs_the_reader_and_not_the_database() {
    for keep in [0, 8192, 900_000] {
        let dir = common::tempdir();
        fill(dir.path());
        let path = files(dir.path(), "segment-").remove(0);
        let whole = std::fs::read(&path).unwrap();
        assert!(whole.len() > 1 << 20);
        let (child, _stdout) = start(dir.path());
        std::fs::File::options().write(true).open(&path).unwrap().set_len(keep).unwrap();
        let ended = go_on(child);
        assert!(ended.signal() == Some(SIGBUS) || ended.code() == Some(3), "cut to {keep}: {ended:?}");

        let store = open(dir.path());
        let error = store.collection("photos").unwrap_err();
        assert_eq!(error.damage().map(|damage| &damage.path), Some(&path), "{error}");
        store.create_collection("another", spec()).unwrap();
        drop(store);
        std::fs::write(&path, &whole).unwrap();
        let store = open(dir.path());
        assert_eq!(contents(&store.collection("photos").unwrap().snapshot()).len(), 101);
        assert!(store.verify(&mut |_| ()).unwrap().is_clean());
    }
}

#[test]
fn the_child_reads_on_when_nothing_is_cut() {
    let dir = common::tempdir();
    fill(dir.path());
    let (child, _stdout) = start(dir.path());
    assert_eq!(go_on(child).code(), Some(4), "so that the death above is the cut's doing");
}
