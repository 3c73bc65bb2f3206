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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DenseRows;
    use crate::vamana::VamanaParams;

    #[test]
    fn the_best_of_more_codes_than_a_block_and_than_are_kept() {
        let (dim, count) = (3, 2 * BLOCK as usize + 77);
        let mut data: Vec<f32> = (0..dim * count).map(|at| (at * 7919 % 1009) as f32 - 504.0).collect();
        assert!(data.chunks_exact_mut(dim).all(|row| fromagerie_kernels::normalize(row).is_some()));
        let rows = DenseRows::new(&data, dim).expect("whole rows");
        let plan = Plan::new(&rows, (0..count as u32).collect(), VamanaParams::default(), false);
        let queries = [(rows.row(5), Some(5)), (rows.row(9), None)];
        let found = best(&plan, &queries);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [count - 1, CANDIDATES]);
        for ((vector, own), found) in queries.iter().zip(&found) {
            let mut prepared = Prepared::default();
            prepared.prepare(&plan.grid, vector);
            let product = |node| Kernel::best().int4.dot(prepared.coarse(), plan.links().code(node));
            let others = (0..count as u32).filter(|node| Some(*node) != *own);
            let mut all: Vec<(i32, u32)> = others.map(|node| (product(node), node)).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            let scored = all.iter().map(|(product, node)| (prepared.score(*product), *node));
            assert!(found.iter().copied().eq(scored.take(found.len())));
        }
    }
}
