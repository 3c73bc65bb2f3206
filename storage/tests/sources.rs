//! What a merge takes together, and what a builder is told of it. Goal: a full tier is merged whole, and with it those above that it
//! fills, so that no row is written twice where once is enough; and a builder finds every row of a source again.
//! Method: a builder that writes down what it was told, with values of vectors to know rows by.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{delete, options, photos, put, record};
use fromagerie_storage::{Batch, Collection, Op, SegmentBuilder, Source, Store, StoreOptions, Task};

/// Rows that are sealed.
const SEALED: u32 = 4;

/// What a builder was told of one segment: the value of each of its rows, and for each source the graph, the live rows, and
/// where its rows are now.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    values: Vec<u32>,
    sources: Vec<(Option<Vec<u8>>, u32, Vec<u32>)>,
}

/// Builds "graphs" that hold the values of the rows.
#[derive(Default)]
struct WritesDown(Mutex<Vec<Told>>);

impl SegmentBuilder for WritesDown {
    fn build(&self, vectors: &[f32], dim: usize, sources: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        let values: Vec<u32> = vectors.chunks_exact(dim).map(|row| (row[1] / row[0]).round() as u32).collect();
        let graph = values.iter().map(|value| *value as u8).collect();
        let of = |source: &Source<'_>| (source.graph().map(<[u8]>::to_vec), source.live_rows(), source.rows());
        self.0.lock().unwrap().push(Told { values, sources: sources.iter().map(of).collect() });
        Some(graph)
    }
}

fn collection(dir: &std::path::Path, merge_rows_max: usize) -> (Store, Collection, Arc<WritesDown>) {
    let options = StoreOptions { seal_rows: SEALED as usize, merge_rows_max, seal_rest: Duration::ZERO, ..options() };
    let store = Store::open(dir, options).unwrap();
    let photos = photos(&store);
    let told = Arc::new(WritesDown::default());
    photos.set_segment_builder(told.clone());
    (store, photos, told)
}

fn segment(photos: &Collection, first: u32, rows: u32) {
    photos.write(Batch::new((first..first + rows).map(|n| Op::Put(record(&format!("k{n}"), n))).collect())).unwrap();
}

#[test]
fn a_builder_finds_every_row_of_a_source_again() {
    let dir = common::tempdir();
    let (_store, photos, told) = collection(dir.path(), 1000);
    segment(&photos, 0, SEALED);
    segment(&photos, SEALED, SEALED);
    // One row of the first dies, one of the second is replaced, and both are in memory with the new value.
    photos.write(delete("k2")).unwrap();
    photos.write(put("k4", 100)).unwrap();
    photos.seal().unwrap();
    told.0.lock().unwrap().clear();
    photos.compact(&mut |_| {}).unwrap();
    let told = told.0.lock().unwrap().clone();
    let gone = u32::MAX;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].values, [0, 1, 3, 5, 6, 7, 100]);
    assert_eq!(
        told[0].sources,
        [
            (Some(vec![0, 1, 2, 3]), 3, vec![0, 1, gone, 2]),
            (Some(vec![4, 5, 6, 7]), 3, vec![gone, 3, 4, 5]),
            (Some(vec![100]), 1, vec![6]),
        ]
    );
}

#[test]
fn what_is_made_anew_has_no_sources() {
    let dir = common::tempdir();
    let (_store, photos, told) = collection(dir.path(), 1000);
    segment(&photos, 0, SEALED);
    photos.rebuild(&mut |_| {}).unwrap();
    let told = told.0.lock().unwrap().clone();
    assert_eq!((told.len(), told[1].sources.len()), (2, 0));
    assert_eq!(told[1].values, [0, 1, 2, 3]);
}

#[test]
fn a_full_tier_is_merged_whole_and_fills_the_next() {
    let dir = common::tempdir();
    // Tier 0 is up to 8 rows, tier 1 up to 64: seven of 12 rows wait for an eighth. So far nothing may be merged.
    let (store, photos, told) = collection(dir.path(), 1);
    for n in 0..7 {
        segment(&photos, n * 12, 12);
        photos.seal().unwrap();
    }
    for n in 0..11 {
        segment(&photos, 1000 + n * 2, 2);
        photos.seal().unwrap();
    }
    drop((photos, store));
    told.0.lock().unwrap().clear();
    let (_store, photos, told) = collection(dir.path(), 1000);
    assert_eq!(photos.stats().sealed_segments, 18);
    segment(&photos, 5000, SEALED);
    let told = told.0.lock().unwrap().clone();
    assert_eq!(told.iter().map(|told| told.sources.len()).collect::<Vec<_>>(), [1, 19], "a seal, and one merge");
    assert_eq!(photos.stats().sealed_segments, 1);
}

#[test]
fn a_seal_has_sources_without_graphs() {
    let dir = common::tempdir();
    let (_store, photos, told) = collection(dir.path(), 1000);
    segment(&photos, 0, SEALED);
    let told = told.0.lock().unwrap().clone();
    assert_eq!(told[0].sources, [(None, SEALED, (0..SEALED).collect())]);
}

#[test]
fn a_damaged_segment_keeps_no_other_from_being_merged() {
    let dir = common::tempdir();
    let (store, photos, _) = collection(dir.path(), 1);
    for n in 0..20 {
        segment(&photos, n * SEALED, SEALED);
    }
    drop((photos, store));
    // The payload of one row of one segment.
    let damaged = common::files(dir.path(), "segment").into_iter().find_map(|path| {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(7).position(|window| window == b"{\"v\":42")?;
        bytes[at + 5] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        Some(path)
    });
    assert!(damaged.is_some());
    let (_store, photos, _) = collection(dir.path(), 1000);
    segment(&photos, 5000, SEALED);
    segment(&photos, 6000, SEALED);
    assert_eq!(photos.stats().sealed_segments, 2, "the damaged one, and all others as one");
}
