//! All codes in sequence, where a walk does not lead to what a filter lets through, or would cost more.
//!
//! The signs of all nodes are read, an eighth of a byte an element, and the codes of those whose estimate does not lie too far
//! behind the worst answer so far. What is too far was measured for each recall when the graph was built.

use std::ops::Range;

use fromagerie_kernels::{Kernel, prefetch};

use super::beam::Rule;
use super::format::Graph;
use super::scratch::Scratch;
use super::signs::NODES;
use crate::{Query, SearchError};

/// Blocks between two questions whether to stop.
const BLOCKS: usize = 16;
/// Places in the beam of a sweep, which has eight entries for each: more candidates than the error of the codes leaves open.
const PLACES: usize = 128;
/// Nodes whose codes are on their way before they are read.
const READY: usize = 32;
/// Nodes between two questions that are looked at without their signs, where a filter lets no more through.
const FEW: u32 = 64;

impl Graph<'_> {
    /// Fills the beam anew with the best of all nodes that count, as far as the first level of their codes can tell. The
    /// query is prepared already, and what a walk has put into the beam says from where on nodes are worth a look.
    pub(super) fn sweep(&self, query: &Query<'_>, scratch: &mut Scratch) -> Result<(), SearchError> {
        scratch.prepared.sign();
        let margin = scratch.prepared.products(self.calibration.coarse_error);
        let k = query.k.min(self.info.nodes).max(1);
        let Scratch { prepared, beam, batch, near, found, distances, signs, swept, .. } = scratch;
        *swept = true;
        near.clear();
        found.clear();
        let mut worst = beam.answers().nth(k - 1).map(|(_, score)| score);
        beam.start(Rule::of(k, PLACES, 0, margin));
        let (kernel, links) = (Kernel::best(), self.links);
        let (spread, behind) =
            (self.calibration.spread, self.calibration.behind(query.recall, query.ef.saturating_mul(10) / k));
        let least =
            |worst: Option<i32>| worst.map_or(0, |worst| prepared.least(prepared.score(worst) - behind, spread));
        let mut least_now = least(worst);
        let nodes = self.info.nodes as u32;
        batch.clear();
        for start in (0..nodes).step_by(BLOCKS * NODES as usize) {
            query.check_cancelled()?;
            let stop = nodes.min(start.saturating_add(BLOCKS as u32 * NODES));
            let mut counting = [0; BLOCKS];
            for (counting, block) in counting.iter_mut().zip((start..stop).step_by(NODES as usize)) {
                *counting = self.counting(query, block..stop.min(block + NODES));
            }
            if counting.iter().map(|rows| rows.count_ones()).sum::<u32>() > FEW {
                let (mut near, blocks) = ([0; BLOCKS], self.signs.blocks_of(start..stop));
                let near = &mut near[..(stop - start).div_ceil(NODES) as usize];
                kernel.signs.at_least(prepared.tables(), blocks, least_now, near);
                counting.iter_mut().zip(near).for_each(|(counting, near)| *counting &= *near);
                *signs += u64::from(stop - start);
            }
            for (block, mut rows) in (start..).step_by(NODES as usize).zip(counting) {
                while rows != 0 {
                    let node = block + rows.trailing_zeros();
                    rows &= rows - 1;
                    if self.counts(query, node) {
                        prefetch(links.code(node));
                        batch.push(node);
                    }
                }
            }
            if batch.len() >= READY || stop == nodes {
                *distances += batch.len() as u64;
                kernel.int4.dot_ready(
                    prepared.coarse(),
                    batch,
                    |node| links.code(node),
                    |node, score| {
                        beam.offer(node, score, || true);
                    },
                );
                batch.clear();
                let now = beam.answers().nth(k - 1).map(|(_, score)| score).max(worst);
                if now != worst {
                    (worst, least_now) = (now, least(now));
                }
            }
        }
        Ok(())
    }

    /// Which nodes of a block may count: a bit each.
    #[inline]
    fn counting(&self, query: &Query<'_>, block: Range<u32>) -> u32 {
        let all = u32::MAX >> (NODES - (block.end - block.start));
        match self.in_set(query) {
            _ if query.allow.is_none() => all,
            Some(set) => set.block(block.start) & all,
            None => (0..).zip(block).fold(0, |rows, (at, node)| rows | u32::from(self.counts(query, node)) << at),
        }
    }
}
