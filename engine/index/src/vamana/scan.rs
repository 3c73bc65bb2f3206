//! The best of all codes for some queries at a time: a block of codes is read for all of them while it lies in the cache.

use fromagerie_kernels::Kernel;

use super::calibrate::{CANDIDATES, RANK_MAX};
use super::plan::Plan;
use crate::Rows;
use crate::frozen::Prepared;

/// Queries for which a block is read.
pub(super) const TOGETHER: usize = 16;
/// Codes in a block.
const BLOCK: u32 = 1024;

/// The best by their codes that a query has met.
struct Best {
    prepared: Prepared,
    own: Option<u32>,
    /// How many are wanted.
    most: usize,
    /// Products, and nodes; twice as many as are wanted, before the worse half goes.
    met: Vec<(i32, u32)>,
    /// What is not above it is not among them.
    floor: (i32, u32),
}

impl Best {
    fn offer(&mut self, product: i32, node: u32) {
        if (product, node) <= self.floor || Some(node) == self.own {
            return;
        }
        self.met.push((product, node));
        if self.met.len() >= 2 * self.most {
            self.settle();
        }
    }

    /// Keeps as many as are wanted.
    fn settle(&mut self) {
        if self.met.len() > self.most {
            self.met.select_nth_unstable_by(self.most - 1, |a, b| b.cmp(a));
            self.met.truncate(self.most);
            self.floor = self.met[self.most - 1];
        }
    }
}

/// For each query (and the node to leave out, which wants [`RANK_MAX`] of the others; without one [`CANDIDATES`]) the best
/// nodes by their codes, with scores, best first.
pub(super) fn best<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    queries: &[(&[f32], Option<u32>)],
) -> Vec<Vec<(f32, u32)>> {
    let (links, kernel) = (plan.links(), Kernel::best());
    let begin = |(vector, own): &(&[f32], Option<u32>)| {
        let mut prepared = Prepared::default();
        prepared.prepare(&plan.grid, vector);
        let most = if own.is_some() { RANK_MAX } else { CANDIDATES };
        Best { prepared, own: *own, most, met: Vec::new(), floor: (i32::MIN, 0) }
    };
    let mut all: Vec<Best> = queries.iter().map(begin).collect();
    let nodes = links.nodes as u32;
    for from in (0..nodes).step_by(BLOCK as usize) {
        let codes = links.codes_of(from..nodes.min(from + BLOCK));
        for best in &mut all {
            let prepared = std::mem::take(&mut best.prepared);
            kernel.int4.dot_block(prepared.coarse(), codes, links.code_bytes, |at, product| {
                best.offer(product, from + at as u32);
            });
            best.prepared = prepared;
        }
    }
    let finish = |mut best: Best| {
        best.settle();
        best.met.sort_unstable_by(|a, b| b.cmp(a));
        best.met.iter().map(|(product, node)| (best.prepared.score(*product), *node)).collect()
    };
    all.into_iter().map(finish).collect()
}
