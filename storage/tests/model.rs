//! Goal: a collection equals a map. Method: random batches, seals and reopens, each compared with a `BTreeMap`, with
//! receipts; segments are tiny so that seals and merges happen all the time.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{contents, open, options, photos, record};
use fromagerie_storage::{Batch, Op, Receipt, Store, StoreOptions};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(u8, Option<u32>)>),
    Seal,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0_u8..24, prop::option::weighted(0.7, 0_u32..1000));
    prop_oneof![
        8 => prop::collection::vec(op, 0..6).prop_map(Step::Write),
        2 => Just(Step::Seal),
        1 => Just(Step::Reopen),
    ]
}

fn small() -> StoreOptions {
    StoreOptions { seal_rows: 5, ..options() }
}

/// Applies a batch to the map; returns the receipt that the collection must give.
fn apply(map: &mut BTreeMap<String, u32>, sequence: u64, ops: &[(u8, Option<u32>)]) -> (Batch, Receipt) {
    let mut receipt = Receipt { sequence, ..Receipt::default() };
    let mut batch = Batch::default();
    for &(key, value) in ops {
        let key = format!("key {key}");
        match value {
            Some(value) => {
                receipt.put += 1;
                receipt.replaced += u32::from(map.insert(key.clone(), value).is_some());
                batch.ops.push(Op::Put(record(&key, value)));
            }
            None => {
                receipt.deleted += u32::from(map.remove(&key).is_some());
                batch.ops.push(Op::Delete { key });
            }
        }
    }
    (batch, receipt)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_map(steps in prop::collection::vec(step(), 1..40)) {
        let dir = common::tempdir();
        let mut store = Store::open(dir.path(), small()).unwrap();
        let mut photos_now = photos(&store);
        let mut map = BTreeMap::new();
        let mut sequence = 0;
        for step in steps {
            match step {
                Step::Write(ops) => {
                    sequence += 1;
                    let (batch, expected) = apply(&mut map, sequence, &ops);
                    prop_assert_eq!(photos_now.write(batch).unwrap(), expected);
                }
                Step::Seal => photos_now.seal().unwrap(),
                Step::Reopen => {
                    drop(photos_now);
                    drop(store);
                    store = Store::open(dir.path(), small()).unwrap();
                    prop_assert!(store.damaged().is_empty() && store.notes().is_empty());
                    photos_now = photos(&store);
                }
            }
            let snapshot = photos_now.snapshot();
            prop_assert_eq!(snapshot.sequence(), sequence);
            prop_assert_eq!(&contents(&snapshot), &map);
        }
        let report = store.verify(&mut |_| ()).unwrap();
        prop_assert!(report.is_clean(), "{:?}", report.damages);
    }
}

#[test]
fn many_seals_are_merged_into_few_segments() {
    let dir = common::tempdir();
    let store = Store::open(dir.path(), small()).unwrap();
    let photos_now = photos(&store);
    for n in 0..400 {
        photos_now.write(common::put(&format!("k{}", n % 150), n)).unwrap();
    }
    let stats = photos_now.stats();
    assert!(stats.sealed_segments <= 20, "{stats:?}");
    assert!(stats.memory_segments <= 4, "{stats:?}");
    assert!(stats.last_seal_error.is_none());
    let expected: BTreeMap<String, u32> = (250..400).map(|n| (format!("k{}", n % 150), n)).collect();
    assert_eq!(contents(&photos_now.snapshot()), expected);
    drop((photos_now, store));
    assert_eq!(contents(&photos(&open(dir.path())).snapshot()), expected);
}
