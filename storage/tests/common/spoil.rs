//! A database whose contents are known to the last field, to be spoiled, looked at and restored many times.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fromagerie_storage::{
    Batch, Collection, CollectionSpec, Document, Op, OpenNote, Receipt, Record, SegmentBuilder, Source, StorageError,
    Store, Task, VectorType,
};

use super::common::{options, tempdir};
use crate::common::random::Random;

pub const DIM: usize = 8;
const FEATURE_DIM: usize = 4;

/// How a change was noticed, the earliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noticed {
    /// `open` refused the database or the collection.
    AtOpen,
    /// `open` mended it and said so.
    Mended,
    /// Reading gave an error.
    OnTouch,
    /// `verify` named it.
    ByVerify,
    /// `open` cut the journal's tail and said so: to it, these bytes were never acknowledged.
    CutAsTorn,
    /// Not at all, and everything reads as it was written.
    Harmless,
}

/// A graph that is recognised again.
struct Graph;

impl SegmentBuilder for Graph {
    fn build(&self, vectors: &[f32], dim: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        Some(graph_of(vectors.len() / dim))
    }
}

fn graph_of(rows: usize) -> Vec<u8> {
    (0..rows * 4).map(|n| (n * 7) as u8).collect()
}

/// A database, its files as they were written, and what they mean.
pub struct Cellar {
    dir: tempfile::TempDir,
    files: BTreeMap<PathBuf, Vec<u8>>,
    truth: BTreeMap<String, BTreeMap<String, Record>>,
    receipts: BTreeMap<(String, String), Receipt>,
}

impl Cellar {
    /// Two collections, the other of halves, one with two sealed segments, deletes and a journal of several groups; an alias, a session.
    pub fn new(rows: usize) -> Cellar {
        let dir = tempdir();
        let mut cellar = Cellar { dir, files: BTreeMap::new(), truth: BTreeMap::new(), receipts: BTreeMap::new() };
        let mut random = Random::new(1);
        let store = Store::open(cellar.dir.path(), options()).unwrap();
        let spec = CollectionSpec {
            dim: DIM as u32,
            feature_dim: FEATURE_DIM as u32,
            settings: "{\"index\":\"flat\"}".into(),
            ..CollectionSpec::default()
        };
        let photos = store.create_collection("photos", spec.clone()).unwrap();
        photos.set_segment_builder(Arc::new(Graph));
        for part in 0..2 {
            for _ in 0..4 {
                cellar.write(&photos, &mut random, rows / 4, 0);
            }
            cellar.write(&photos, &mut random, 3 * part, rows / 10);
            photos.seal().unwrap();
        }
        for _ in 0..12 {
            cellar.write(&photos, &mut random, 3, 2);
        }
        let other = store.create_collection("other", CollectionSpec { vector_type: VectorType::F16, ..spec }).unwrap();
        other.set_segment_builder(Arc::new(Graph));
        cellar.write(&other, &mut random, rows / 8, 0);
        other.seal().unwrap();
        cellar.write(&other, &mut random, 2, 1);
        store.set_alias("best", "photos").unwrap();
        store.set_alias("worst", "other").unwrap();
        for n in 0..20 {
            store.put_session(&format!("s{n}"), &session(n)).unwrap();
        }
        drop((photos, other, store));
        // Opened once more, so that what the first close left to do is done.
        drop(Store::open(cellar.dir.path(), options()).unwrap());
        cellar.files = read_all(cellar.dir.path());
        assert_eq!(cellar.noticed("as written"), Noticed::Harmless);
        cellar
    }

    fn write(&mut self, collection: &Collection, random: &mut Random, puts: usize, deletes: usize) {
        let truth = self.truth.entry(collection.name().to_owned()).or_default();
        let mut ops = Vec::new();
        for _ in 0..puts {
            let record = record(random);
            truth.insert(record.key.clone(), record.clone());
            ops.push(Op::Put(record));
        }
        for _ in 0..deletes.min(truth.len()) {
            let key = truth.keys().nth(random.below(truth.len())).unwrap().clone();
            truth.remove(&key);
            ops.push(Op::Delete { key });
        }
        let id = format!("request {}", self.receipts.len());
        let receipt = collection.write(Batch::new(ops).with_request_id(id.clone())).unwrap();
        self.receipts.insert((collection.name().to_owned(), id), receipt);
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Files with these beginnings of their names, with their bytes, in order.
    pub fn files(&self, prefix: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let named = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
        self.files.keys().filter(named).map(|path| (path.clone(), self.files[path].clone())).collect()
    }

    /// Writes `bytes` in the place of the file `path`, looks how that is noticed, and restores everything.
    pub fn with(&self, path: &Path, bytes: &[u8], what: &str) -> Noticed {
        std::fs::write(path, bytes).unwrap();
        self.look(what)
    }

    /// Looks how what was done to the directory is noticed, and restores everything.
    pub fn look(&self, what: &str) -> Noticed {
        let noticed = self.noticed(what);
        self.restore();
        noticed
    }

    fn restore(&self) {
        for path in read_all(self.dir.path()).keys().filter(|path| !self.files.contains_key(*path)) {
            std::fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &self.files {
            if std::fs::read(path).ok().as_ref() != Some(bytes) {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
        }
    }

    fn noticed(&self, what: &str) -> Noticed {
        let found = catch_unwind(AssertUnwindSafe(|| self.read_everything()));
        match found.unwrap_or_else(|_| panic!("{what}: a panic, or bytes that nobody wrote")) {
            Ok(noticed) => noticed,
            Err(silent) => panic!("{what}: {silent}"),
        }
    }

    /// Opens, reads all, verifies, and compares whatever can be read with the truth. An error is a silent difference.
    fn read_everything(&self) -> Result<Noticed, String> {
        let store = match Store::open(self.dir.path(), options()) {
            Ok(store) => store,
            Err(_) => return Ok(Noticed::AtOpen),
        };
        let damaged: Vec<String> = store.damaged().into_iter().map(|damaged| damaged.name).collect();
        let cut = store.notes().iter().any(|note| matches!(note, OpenNote::JournalTailCut { .. }));
        let mut first = if !damaged.is_empty() {
            Noticed::AtOpen
        } else if cut {
            Noticed::CutAsTorn
        } else if !store.notes().is_empty() {
            Noticed::Mended
        } else {
            Noticed::Harmless
        };
        if damaged.len() > 1 {
            return Err(format!("more than one collection is damaged: {damaged:?}"));
        }
        for (name, items) in &self.truth {
            let Ok(collection) = store.collection(name) else {
                if damaged.is_empty() {
                    return Err(format!("{name} is gone"));
                }
                continue;
            };
            match self.read_collection(&collection, items, cut) {
                Ok(true) => {}
                Ok(false) => first = first.min(Noticed::OnTouch),
                Err(silent) => return Err(format!("{name}: {silent}")),
            }
        }
        let report = store.verify(&mut |_| ()).map_err(|error| format!("verify gave up: {error}"))?;
        if matches!(first, Noticed::AtOpen | Noticed::OnTouch) && report.is_clean() {
            return Err("verify does not name what open or a read did".to_owned());
        }
        if !report.is_clean() {
            first = first.min(Noticed::ByVerify);
        }
        if damaged.is_empty() {
            let aliases = [("best".into(), "photos".into()), ("worst".into(), "other".into())];
            if store.aliases() != aliases {
                return Err(format!("aliases are {:?}", store.aliases()));
            }
        }
        for n in 0..20 {
            match store.session(&format!("s{n}")) {
                Ok(Some(value)) if value == session(n) => {}
                Ok(None) if first == Noticed::Harmless => return Err(format!("session {n} is gone")),
                Ok(None) | Err(_) => {}
                Ok(Some(value)) => return Err(format!("session {n} reads {value:?}")),
            }
        }
        Ok(first)
    }

    /// Whether all could be read; what could be is as it was written, or the error says what is not.
    fn read_collection(
        &self,
        collection: &Collection,
        items: &BTreeMap<String, Record>,
        cut: bool,
    ) -> Result<bool, String> {
        let (snapshot, mut all_read, mut met) = (collection.snapshot(), true, 0);
        let mut failed = |error: StorageError| match error.damage() {
            Some(_) => {
                all_read = false;
                Ok(())
            }
            None => Err(format!("not damage, but {error}")),
        };
        for segment in snapshot.segments() {
            match segment.graph() {
                Ok(graph) if segment.is_sealed() && graph != Some(&graph_of(segment.rows() as usize)[..]) => {
                    return Err("another graph".to_owned());
                }
                Ok(_) => {}
                Err(error) => failed(error)?,
            }
            let vectors = segment.vectors();
            for row in (0..segment.rows()).filter(|&row| segment.is_live(row)) {
                let key = match segment.key(row) {
                    Ok(key) => key,
                    Err(error) => {
                        failed(error)?;
                        continue;
                    }
                };
                // After a cut the deletes of the last batches are undone: such keys were there once.
                let Some(item) = items.get(key) else {
                    if cut {
                        continue;
                    }
                    return Err(format!("a key that is not there: {key}"));
                };
                met += 1;
                if let Ok(vectors) = vectors.as_ref()
                    && vectors.to_f32()[row as usize * DIM..(row as usize + 1) * DIM] != item.vector
                {
                    return Err(format!("{key}: another vector"));
                }
                match segment.document(row) {
                    Ok(document) if document != item.document => return Err(format!("{key}: another document")),
                    Ok(_) => {}
                    Err(error) => failed(error)?,
                }
                match segment.features(row) {
                    Ok(features) if features != item.features => return Err(format!("{key}: other features")),
                    Ok(_) => {}
                    Err(error) => failed(error)?,
                }
            }
            if let Err(error) = vectors {
                failed(error)?;
            }
        }
        for key in items.keys() {
            match snapshot.find(key) {
                Ok(None) if !cut => return Err(format!("{key} is gone")),
                Ok(_) => {}
                Err(error) => failed(error)?,
            }
        }
        if all_read && !cut {
            if met != items.len() || snapshot.len() != items.len() {
                return Err(format!("{met} of {} items, {} told", items.len(), snapshot.len()));
            }
            for ((name, id), receipt) in self.receipts.iter().filter(|((name, _), _)| name == collection.name()) {
                let again = collection.write(Batch::default().with_request_id(id.clone()));
                if again.as_ref().ok() != Some(receipt) {
                    return Err(format!("{name}: {id} gives {again:?}"));
                }
            }
        }
        Ok(all_read)
    }
}

fn session(n: u8) -> Vec<u8> {
    (0..30 + n).map(|at| at.wrapping_mul(17) ^ n).collect()
}

fn record(random: &mut Random) -> Record {
    let number = random.below(100_000);
    let floats =
        |random: &mut Random, count: usize| (0..count).map(|_| (random.below(2000) as f32 - 999.5) / 8.0).collect();
    let document = Document {
        payload: format!("{{\"number\":{number}}}"),
        caption: "cheese ".repeat(random.below(9)),
        uri: format!("file:///pictures/{number}.jpg"),
        width: number as u32,
        height: 7,
        content_hash: random.chance(1, 2).then_some([number as u8; 32]),
        thumbnail: (0..random.below(90)).map(|_| random.next() as u8).collect(),
    };
    let features = random.chance(1, 2).then(|| floats(random, FEATURE_DIM));
    Record { key: format!("key {number}"), vector: floats(random, DIM), features, document }
}

/// Every file below `dir` but the lock.
fn read_all(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = super::common::files(dir, "").into_iter().filter(|path| !path.ends_with("LOCK"));
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}
