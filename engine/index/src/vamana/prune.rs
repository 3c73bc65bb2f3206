//! Which candidates become neighbours: near ones, but in different directions.

use super::plan::{Candidate, Plan, Worker};
use crate::Rows;
use fromagerie_kernels::Kernel;

impl<R: Rows + Sync + ?Sized> Plan<'_, R> {
    /// Chooses from `worker.candidates` into `worker.kept`, nearest first, at most `params.degree`.
    ///
    /// A candidate goes when one that is kept is nearer to it than the node is, by the factor `alpha` in squared
    /// distance; between unit vectors that is `2 - 2 * score`. Source: Subramanya et al. 2019, Algorithm 2.
    pub(super) fn prune(&self, worker: &mut Worker) {
        let Worker { prepared, candidates, kept, .. } = worker;
        candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
        candidates.dedup_by_key(|candidate| candidate.node);
        kept.clear();
        let (links, kernel) = (self.links(), Kernel::best());
        let mut left = candidates.len();
        let mut first = 0;
        while first < left && kept.len() < self.params.degree {
            let near = candidates[first].node;
            kept.push(near);
            first += 1;
            prepared.prepare(&self.grid, self.vector(near));
            let mut stay = first;
            for at in first..left {
                let candidate = candidates[at];
                let between = prepared.score(kernel.int4.dot(prepared.coarse(), links.code(candidate.node)));
                if self.params.alpha * (1.0 - between) > 1.0 - candidate.score {
                    candidates[stay] = candidate;
                    stay += 1;
                }
            }
            left = stay;
        }
    }

    /// Chooses among `nodes` the neighbours of `node`, into `worker.kept`.
    pub(super) fn prune_list(&self, node: u32, nodes: impl Iterator<Item = u32>, worker: &mut Worker) {
        worker.prepared.prepare(&self.grid, self.vector(node));
        let (links, kernel, prepared) = (self.links(), Kernel::best(), &worker.prepared);
        let score = |near| prepared.score(kernel.int4.dot(prepared.coarse(), links.code(near)));
        worker.candidates.clear();
        worker.candidates.extend(nodes.map(|node| Candidate { node, score: score(node) }));
        self.prune(worker);
    }
}
