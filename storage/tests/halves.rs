//! Goal: a collection of halves keeps each element rounded once and never again, everywhere alike, and refuses what halves
//! cannot hold. Method: vectors with elements of every size are put and read back bit by bit from memory, from the
//! journal, from segments, merged, compacted, copied and repaired ones, and compared with the rounding of `half`.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::random::Random;
use common::{delete, files, open};
use fromagerie_storage::{
    Batch, Collection, CollectionSpec, Op, Record, SegmentBuilder, Source, StorageError, Store, Task, VectorType,
    Vectors,
};
use half::f16;

const DIM: usize = 6;

fn create(store: &Store) -> Collection {
    let spec = CollectionSpec { dim: DIM as u32, vector_type: VectorType::F16, ..CollectionSpec::default() };
    store.create_collection("photos", spec).unwrap()
}

/// Elements from the smallest subnormal half to the largest half, exact ones and some between.
fn vector(random: &mut Random) -> Vec<f32> {
    let element = |random: &mut Random| {
        let exact = f16::from_bits((random.below(0x7C00) | random.below(2) << 15) as u16).to_f32();
        if random.chance(1, 2) { exact } else { (exact * 1.000_3).clamp(-65_500.0, 65_500.0) }
    };
    (0..DIM).map(|n| if n == 0 { 1.0 } else { element(random) }).collect()
}

fn put(vectors: &BTreeMap<String, Vec<f32>>) -> Batch {
    let record = |(key, vector): (&String, &Vec<f32>)| {
        Op::Put(Record { key: key.clone(), vector: vector.clone(), ..Record::default() })
    };
    Batch::new(vectors.iter().map(record).collect())
}

/// Every live vector, by key, in bits; each way of reading must agree.
fn read(collection: &Collection) -> BTreeMap<String, Vec<u32>> {
    let mut all = BTreeMap::new();
    for segment in collection.snapshot().segments() {
        let vectors = segment.vectors().unwrap();
        assert!(matches!(vectors, Vectors::F16(_)), "halves are lent as they lie");
        for row in (0..segment.rows()).filter(|row| segment.is_live(*row)) {
            let one = segment.vector(row).unwrap();
            assert_eq!(one, vectors.slice(row as usize * DIM..(row as usize + 1) * DIM));
            let bits = one.to_f32().iter().map(|x| x.to_bits()).collect();
            assert!(all.insert(segment.key(row).unwrap().to_owned(), bits).is_none());
        }
    }
    all
}

fn rounded(vectors: &BTreeMap<String, Vec<f32>>) -> BTreeMap<String, Vec<u32>> {
    let round = |vector: &Vec<f32>| vector.iter().map(|x| f16::from_f32(*x).to_f32().to_bits()).collect();
    vectors.iter().map(|(key, vector)| (key.clone(), round(vector))).collect()
}

fn photos(dir: &Path) -> Collection {
    open(dir).collection("photos").unwrap()
}

#[test]
fn halves_are_the_same_wherever_they_lie() {
    let (dir, mut random) = (common::tempdir(), Random::new(1));
    let mut truth = BTreeMap::new();
    {
        let store = open(dir.path());
        let collection = create(&store);
        for part in 0..3 {
            let vectors: BTreeMap<_, _> = (0..60).map(|n| (format!("{part} {n}"), vector(&mut random))).collect();
            collection.write(put(&vectors)).unwrap();
            truth.extend(vectors);
            assert_eq!(read(&collection), rounded(&truth), "in memory");
            if part < 2 {
                collection.seal().unwrap();
                assert_eq!(read(&collection), rounded(&truth), "sealed");
            }
        }
    }
    assert_eq!(read(&photos(dir.path())), rounded(&truth), "from the journal");
    let collection = photos(dir.path());
    collection.write(delete("0 7")).unwrap();
    truth.remove("0 7");
    collection.compact(&mut |_| ()).unwrap();
    assert_eq!(read(&collection), rounded(&truth), "compacted");
    let vectors = collection.stats().parts.iter().find(|part| part.name == "vectors").unwrap().bytes;
    assert_eq!(vectors, (truth.len() * DIM * 2) as u64, "two bytes an element");
    drop(collection);

    let (copy, restored) = (dir.path().with_extension("copy"), dir.path().with_extension("restored"));
    let store = open(dir.path());
    store.snapshot_to(&copy, false, &mut |_| ()).unwrap();
    Store::restore(&copy, &restored, false, common::options(), &mut |_| ()).unwrap();
    assert_eq!(read(&photos(&restored)), rounded(&truth), "copied");
    assert!(store.verify(&mut |_| ()).unwrap().is_clean());
    drop(store);
    std::fs::remove_dir_all(&copy).unwrap();
    std::fs::remove_dir_all(&restored).unwrap();

    // The tail is damaged: the segment is written anew from its rows.
    let path = files(dir.path(), "segment-").remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let store = open(dir.path());
    let name = store.damaged()[0].name.clone();
    assert!(store.repair(&name, true, &|_| None, &mut |_| ()).unwrap().is_lossless());
    assert_eq!(read(&store.collection("photos").unwrap()), rounded(&truth), "repaired");
}

#[test]
fn what_halves_cannot_hold_is_refused_by_name() {
    let dir = common::tempdir();
    let store = open(dir.path());
    let collection = create(&store);
    let one = |x: f32| {
        let vector = [vec![0.0; DIM - 1], vec![x]].concat();
        collection.write(Batch::new(vec![Op::Put(Record { key: "k".into(), vector, ..Record::default() })]))
    };
    for large in [65_520.0, -1e9, f32::MAX] {
        let error = one(large).unwrap_err();
        assert!(matches!(&error, StorageError::HalfOverflow { element: 5, value, .. } if *value == large), "{error}");
        assert!(error.to_string().contains("f16") && error.to_string().contains("`k`"), "{error}");
    }
    assert!(matches!(one(1e-9), Err(StorageError::HalfUnderflow { .. })));
    assert!(matches!(one(f32::NAN), Err(StorageError::NonFinite { .. })));
    assert!(matches!(one(0.0), Err(StorageError::ZeroVector { .. })));
    assert!(collection.snapshot().is_empty(), "nothing of a refused batch is kept");
    for small in [65_519.0, 6e-8] {
        one(small).unwrap();
    }
}

/// Keeps what it was given.
#[derive(Default)]
struct Seen(Mutex<Vec<Vec<f32>>>);

impl SegmentBuilder for Seen {
    fn build(&self, vectors: &[f32], dim: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        assert_eq!(dim, DIM);
        self.0.lock().unwrap().push(vectors.to_vec());
        Some(vec![7; 100])
    }

    fn wants(&self, rows: usize) -> bool {
        rows >= 20
    }
}

#[test]
fn a_graph_is_built_over_the_halves_as_floats_and_nothing_is_left_behind() {
    let (dir, mut random) = (common::tempdir(), Random::new(2));
    let (store, seen) = (open(dir.path()), Arc::new(Seen::default()));
    let collection = create(&store);
    collection.set_segment_builder(seen.clone());
    let few: BTreeMap<_, _> = (0..19).map(|n| (format!("few {n}"), vector(&mut random))).collect();
    collection.write(put(&few)).unwrap();
    collection.seal().unwrap();
    assert!(seen.0.lock().unwrap().is_empty(), "a builder that wants no graph of so few rows is not asked");
    let many: BTreeMap<_, _> = (0..50).map(|n| (format!("many {n}"), vector(&mut random))).collect();
    collection.write(put(&many)).unwrap();
    collection.seal().unwrap();
    let snapshot = collection.snapshot();
    let segment = &snapshot.segments()[1];
    assert_eq!(seen.0.lock().unwrap()[..], [segment.vectors().unwrap().to_f32().into_owned()]);
    assert_eq!(segment.graph().unwrap(), Some(&[7; 100][..]));
    let names: Vec<_> =
        files(dir.path(), "segment-").into_iter().filter(|path| path.to_str().unwrap().ends_with(".tmp")).collect();
    assert!(names.is_empty(), "{names:?}");
}
