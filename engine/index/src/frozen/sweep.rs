//! All nodes in sequence, where a walk does not lead to what a filter lets through, or would cost more.
//!
//! The signs of all nodes are read, an eighth of a byte an element, and the codes of those whose estimate does not lie too far
//! behind the worst answer so far. What is too far was measured for each recall when the graph was built.

use std::ops::Range;

use fromagerie_kernels::{Kernel, prefetch};

use super::beam::Rule;
use super::format::Graph;
use super::scratch::Scratch;
use super::search::K_MIN;
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
        let k = query.k.max(K_MIN).min(self.info.nodes).max(1);
        let behind = self.calibration.behind(query.recall, query.ef.saturating_mul(K_MIN) / k);
        let Scratch { prepared, beam, batch, near, found, distances, signs, swept, .. } = scratch;
        *swept = true;
        near.clear();
        found.clear();
        let least = |worst: i32| prepared.least(prepared.score(worst) - behind, self.calibration.spread);
        let mut worst = beam.answers().nth(k - 1).map(|(_, score)| score);
        let mut least_now = worst.map_or(0, least);
        beam.start(Rule::of(k, PLACES, 0, margin));
        batch.clear();
        let nodes = self.info.nodes as u32;
        for start in (0..nodes).step_by(BLOCKS * NODES as usize) {
            query.check_cancelled()?;
            let stop = nodes.min(start.saturating_add(BLOCKS as u32 * NODES));
            *signs += self.worth_a_look(query, start..stop, (prepared.tables(), least_now), batch);
            if batch.len() < READY && stop < nodes {
                continue;
            }
            *distances += batch.len() as u64;
            let (query_code, code) = (prepared.coarse(), |node| self.links.code(node));
            Kernel::best().int4.dot_ready(query_code, batch, code, |node, score| beam.offer(node, score, || true));
            batch.clear();
            let now = beam.answers().nth(k - 1).map(|(_, score)| score).max(worst);
            if now != worst {
                (worst, least_now) = (now, now.map_or(0, least));
            }
        }
        Ok(())
    }

    /// Adds those of up to [`BLOCKS`] blocks of nodes that count and whose signs agree with the query enough; their codes are on
    /// their way. Returns of how many nodes it has read the signs.
    fn worth_a_look(
        &self,
        query: &Query<'_>,
        nodes: Range<u32>,
        (tables, least): (&[u8], u16),
        batch: &mut Vec<u32>,
    ) -> u64 {
        let starts = || nodes.clone().step_by(NODES as usize);
        let (mut rows, mut near, mut read) = ([0; BLOCKS], [0; BLOCKS], 0);
        for (rows, start) in rows.iter_mut().zip(starts()) {
            *rows = self.counting(query, start..nodes.end.min(start + NODES));
        }
        if rows.iter().map(|rows| rows.count_ones()).sum::<u32>() > FEW {
            let near = &mut near[..starts().count()];
            Kernel::best().signs.at_least(tables, self.signs.blocks_of(nodes.clone()), least, near);
            rows.iter_mut().zip(near).for_each(|(rows, near)| *rows &= *near);
            read = nodes.len() as u64;
        }
        for (start, mut rows) in starts().zip(rows) {
            while rows != 0 {
                let node = start + rows.trailing_zeros();
                rows &= rows - 1;
                if self.counts(query, node) {
                    prefetch(self.links.code(node));
                    batch.push(node);
                }
            }
        }
        read
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
