//! Goal: what the system is told of a mapped segment fits how it is read, since a read-ahead of megabytes for each row that a
//! walk looks up would fill a small memory with what nobody wants. Method: the kernel's own flags of the
//! map, from `/proc/self/smaps`.

#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{open, photos, record};
use fromagerie_storage::{Batch, Op, SegmentBuilder, Snapshot, Source, Task};

struct Graph;

impl SegmentBuilder for Graph {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        Some(vec![7; 1 << 20])
    }
}

/// A collection of one segment.
fn sealed(dir: &Path, has_graph: bool) -> Snapshot {
    let collection = photos(&open(dir));
    if has_graph {
        collection.set_segment_builder(Arc::new(Graph));
    }
    collection.write(Batch::new((0..5000).map(|n| Op::Put(record(&format!("k{n}"), n))).collect())).unwrap();
    collection.seal().unwrap();
    collection.snapshot()
}

/// For each map of a segment under `dir`, in the order of their addresses: `rr` read here and there, `sr` in order, or
/// neither.
fn advice(dir: &Path) -> Vec<&'static str> {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut is_segment, mut found) = (false, Vec::new());
    for line in maps.lines() {
        if line.contains('-') && line.split(' ').nth(1).is_some_and(|access| access.len() == 4) {
            is_segment = line.contains(dir.to_str().unwrap()) && line.ends_with(".fms");
        } else if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| is_segment) {
            let has = |flag: &str| flags.split(' ').any(|f| f == flag);
            found.push(if has("rr") {
                "rr"
            } else if has("sr") {
                "sr"
            } else {
                ""
            });
        }
    }
    found
}

#[test]
fn beside_a_graph_vectors_are_looked_up_and_only_scans_read_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = sealed(dir.path(), true);
    let segment = &snapshot.segments()[0];
    assert_eq!(advice(dir.path()), ["rr"], "before anything is read");
    assert!(segment.graph().unwrap().is_some());
    assert_eq!(segment.vectors().unwrap().len(), 5000 * segment.dim());
    assert!(advice(dir.path()).iter().all(|flags| *flags == "rr"), "{:?}", advice(dir.path()));
    {
        let _in_order = segment.vectors_in_order();
        let during = advice(dir.path());
        assert!(during.contains(&"sr") && during.last() == Some(&"rr"), "the graph is still walked: {during:?}");
    }
    assert!(advice(dir.path()).iter().all(|flags| *flags == "rr"), "{:?}", advice(dir.path()));
}

#[test]
fn without_a_graph_vectors_are_read_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = sealed(dir.path(), false);
    let segment = &snapshot.segments()[0];
    segment.vectors().unwrap();
    let (before, during) = (advice(dir.path()), {
        let _in_order = segment.vectors_in_order();
        advice(dir.path())
    });
    assert!(before.contains(&""), "{before:?}");
    assert_eq!(before, during, "scans are what the map is advised for already");
}
