//! Equal vectors: only the first of them enters the graph.
//!
//! `hnsw_rs` links a row to those that no nearer neighbour hides, and an equal vector, at distance 0, hides all
//! others; an overflowing list then drops whatever is farthest. A few dozen equal rows are enough to cut
//! themselves, and each other, off from the rest.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Rows taken so far, and which of them share a vector.
#[derive(Debug, Default)]
pub(super) struct Twins {
    taken: Vec<u64>,
    count: usize,
    /// By the vector's hash: the row that stands in the graph. Two keys make 128 bits, so no bits are compared.
    nodes: HashMap<(u64, u64), u32>,
    keys: (RandomState, RandomState),
    /// By that row: the others.
    others: HashMap<u32, Vec<u32>>,
}

/// What to do with a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It has a vector of its own: put it into the graph.
    Node,
    /// Its vector is in the graph already.
    Twin,
    /// The row itself is.
    Repeated,
}

impl Twins {
    pub(super) fn claim(&mut self, row: u32, vector: &[f32]) -> Claim {
        let (word, bit) = (row as usize / 64, 1u64 << (row % 64));
        if self.taken.len() <= word {
            self.taken.resize(word + 1, 0);
        }
        if self.taken[word] & bit != 0 {
            return Claim::Repeated;
        }
        self.taken[word] |= bit;
        self.count += 1;
        let node = *self.nodes.entry((hash(&self.keys.0, vector), hash(&self.keys.1, vector))).or_insert(row);
        if node == row {
            return Claim::Node;
        }
        self.others.entry(node).or_default().push(row);
        Claim::Twin
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether no row has entered the graph yet.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first of rows `0..count` that was never taken.
    pub(super) fn missing(&self) -> Option<u32> {
        let taken = |row: &u32| self.taken[*row as usize / 64] & (1u64 << (row % 64)) != 0;
        (0..self.count as u32).find(|row| !taken(row))
    }

    /// Rows that share the vector of `node`, in the order they came.
    pub(super) fn of(&self, node: u32) -> &[u32] {
        self.others.get(&node).map_or(&[], Vec::as_slice)
    }

    /// All groups: the row in the graph and its twins.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u32, &[u32])> {
        self.others.iter().map(|(node, others)| (*node, others.as_slice()))
    }
}

fn hash(key: &RandomState, vector: &[f32]) -> u64 {
    let mut hasher = key.build_hasher();
    vector.iter().for_each(|x| hasher.write_u32(x.to_bits()));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_vectors_stand_behind_the_first() {
        let mut twins = Twins::default();
        assert_eq!(twins.claim(5, &[1.0, 0.0]), Claim::Node);
        assert_eq!(twins.claim(0, &[0.0, 1.0]), Claim::Node);
        assert_eq!(twins.claim(2, &[1.0, 0.0]), Claim::Twin);
        assert_eq!(twins.claim(2, &[1.0, 0.0]), Claim::Repeated);
        assert_eq!((twins.of(5), twins.of(0), twins.missing()), (&[2][..], &[][..], Some(1)));
    }
}
