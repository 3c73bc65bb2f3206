//! All codes in sequence, where a walk does not lead to what a filter lets through, or would cost more: an eighth of the bytes of
//! whole rows.

use fromagerie_kernels::{Kernel, prefetch};

use super::beam::Rule;
use super::format::Graph;
use super::scratch::Scratch;
use crate::{Query, SearchError};

/// Nodes between two questions whether to stop: their codes are asked of memory together and stay in the second cache. A
/// multiple of 64, as sets of nodes want it.
const NODES_AT_ONCE: usize = 512;
/// Places in the beam of a sweep, which has eight entries for each: more candidates than the error of the codes leaves open.
const PLACES: usize = 128;

impl Graph<'_> {
    /// Fills the beam anew with the best of all nodes that count, as far as the first level of their codes can tell. The
    /// query is prepared already.
    pub(super) fn sweep(&self, query: &Query<'_>, scratch: &mut Scratch) -> Result<(), SearchError> {
        let margin = scratch.prepared.products(self.calibration.coarse_error);
        let k = query.k.min(self.info.nodes).max(1);
        let Scratch { prepared, beam, batch, near, found, distances, swept, .. } = scratch;
        *swept = true;
        near.clear();
        found.clear();
        beam.start(Rule::of(k, PLACES, 0, margin));
        let (kernel, links, query_code) = (Kernel::best(), self.links, prepared.coarse());
        let nodes = self.info.nodes as u32;
        for start in (0..nodes).step_by(NODES_AT_ONCE) {
            query.check_cancelled()?;
            let stop = nodes.min(start.saturating_add(NODES_AT_ONCE as u32));
            if query.allow.is_none() {
                *distances += u64::from(stop - start);
                kernel.int4.dot_block(query_code, links.codes_of(start..stop), links.code_bytes, |at, score| {
                    beam.offer(start + at as u32, score, || true);
                });
                continue;
            }
            batch.clear();
            match self.in_set(query) {
                Some(set) => batch.extend(set.between(start, stop).filter(|node| self.counts(query, *node))),
                None => batch.extend((start..stop).filter(|node| self.counts(query, *node))),
            }
            batch.iter().for_each(|node| prefetch(links.code(*node)));
            *distances += batch.len() as u64;
            kernel.int4.dot_ready(
                query_code,
                batch,
                |node| links.code(node),
                |node, score| {
                    beam.offer(node, score, || true);
                },
            );
        }
        Ok(())
    }
}
