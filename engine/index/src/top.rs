//! The best `k` of a stream, in a heap that is kept from one search to the next.

use std::collections::BinaryHeap;

use crate::Neighbor;

/// A bounded heap with the worst of the best on top.
#[derive(Debug, Default)]
pub(crate) struct Top {
    heap: BinaryHeap<Neighbor>,
    k: usize,
}

impl Top {
    /// Empties the heap; from now on it keeps the best `k`.
    pub(crate) fn start(&mut self, k: usize) {
        self.heap.clear();
        self.k = k;
        self.heap.reserve(k);
    }

    /// Whether `neighbor` would be kept.
    #[inline]
    pub(crate) fn wants(&self, neighbor: &Neighbor) -> bool {
        self.heap.len() < self.k || self.heap.peek().is_some_and(|worst| neighbor < worst)
    }

    #[inline]
    pub(crate) fn push(&mut self, neighbor: Neighbor) {
        if self.heap.len() < self.k {
            self.heap.push(neighbor);
        } else if let Some(mut worst) = self.heap.peek_mut() {
            *worst = neighbor;
        }
    }

    /// Moves what was kept into `out`, best first.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<Neighbor>) {
        out.clear();
        out.extend(self.heap.drain());
        out.sort_unstable();
    }
}
