//! A collection of generated vectors, and what an exact search by hand finds in it.
#![allow(dead_code, clippy::unwrap_used)]

use fromagerie::{Collection, Database, Hit, Item, NewCollection, Options, Query};
use tempfile::TempDir;

#[path = "../../index/tests/common/mod.rs"]
pub mod generated;

pub(crate) use generated::Set;

/// A database of one collection, "plain", with no model.
pub struct Plain {
    pub db: Database,
    pub plain: Collection,
    pub folder: TempDir,
}

/// An empty one.
pub fn plain(dim: usize, new: NewCollection, options: Options) -> Plain {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open_with(folder.path(), options).unwrap();
    let plain = db.create_collection("plain", NewCollection { dim: Some(dim), vectors_only: true, ..new }).unwrap();
    Plain { db, plain, folder }
}

/// Closes and opens again.
pub fn again(plain: Plain, options: Options) -> Plain {
    let Plain { db, plain, folder } = plain;
    drop((db, plain));
    let db = Database::open_with(folder.path(), options).unwrap();
    let plain = db.open_collection("plain").unwrap();
    Plain { db, plain, folder }
}

/// Puts the rows of `set` under their numbers, with what `payload` makes of these.
pub(crate) fn fill(plain: &Collection, set: &Set, payload: impl Fn(usize) -> serde_json::Value) {
    let items: Vec<Item> = set.data.chunks(set.dim).enumerate().map(|(n, row)| item(n, row, payload(n))).collect();
    for batch in items.chunks(2048) {
        plain.insert_many(batch.to_vec(), None).unwrap();
    }
}

pub fn item(n: usize, row: &[f32], payload: serde_json::Value) -> Item {
    let mut item = Item::vector(n.to_string(), row.to_vec());
    item.payload = payload.as_object().cloned().unwrap_or_default();
    item
}

/// Numbers of the `k` nearest rows for which `allowed` is true, with their scores, best first.
pub(crate) fn truth(set: &Set, vector: &[f32], k: usize, allowed: impl Fn(usize) -> bool) -> Vec<(String, f32)> {
    let rows = set.data.chunks(set.dim).enumerate().filter(|(n, _)| allowed(*n));
    let mut scored: Vec<(usize, f32)> = rows.map(|(n, row)| (n, fromagerie_kernels::dot(vector, row))).collect();
    scored.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scored.truncate(k);
    scored.into_iter().map(|(n, score)| (n.to_string(), score)).collect()
}

/// How much of `truth` was found; a hit that is as near as the last true one counts.
pub fn recall(hits: &[Hit], truth: &[(String, f32)]) -> f64 {
    let Some((_, worst)) = truth.last() else { return if hits.is_empty() { 1.0 } else { 0.0 } };
    hits.iter().filter(|hit| hit.score >= worst - 1e-5).count().min(truth.len()) as f64 / truth.len() as f64
}

pub fn vector(vector: &[f32]) -> Query {
    Query::vector(vector.to_vec())
}
