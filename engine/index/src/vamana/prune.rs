//! Which candidates become neighbours: near ones, but in different directions.

use super::plan::{Candidate, Plan, Worker};
use crate::Rows;
use fromagerie_kernels::{Kernel, prefetch};

impl<R: Rows + Sync + ?Sized> Plan<'_, R> {
    /// Chooses from `worker.candidates` into `worker.kept`, nearest first, at most `params.degree`.
    ///
    /// A candidate goes when one that is kept is nearer to it than the node is, by the factor `alpha` in squared
    /// distance; between unit vectors that is `2 - 2 * score`. Source: Subramanya et al. 2019, Algorithm 2.
    pub(super) fn prune(&self, worker: &mut Worker) {
        let Worker { prepared, candidates, kept, between, .. } = worker;
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
            // Rows are all over memory, and the next to be kept is mostly one of the next two.
            candidates[first..left].iter().take(2).for_each(|next| prefetch(self.vector(next.node)));
            prepared.prepare(&self.grid, self.vector(near));
            between.clear();
            let code = |candidate: Candidate| links.code(candidate.node);
            kernel
                .int4
                .dot_ready(prepared.coarse(), &candidates[first..left], code, |_, product| between.push(product));
            let mut stay = first;
            for (at, product) in (first..left).zip(&*between) {
                let candidate = candidates[at];
                if self.params.alpha * (1.0 - prepared.score(*product)) > 1.0 - candidate.score {
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
        let Worker { prepared, candidates, kept, .. } = &mut *worker;
        let (links, kernel) = (self.links(), Kernel::best());
        kept.clear();
        kept.extend(nodes);
        kept.iter().for_each(|near| prefetch(links.code(*near)));
        candidates.clear();
        kernel.int4.dot_ready(
            prepared.coarse(),
            kept,
            |near| links.code(near),
            |node, product| {
                candidates.push(Candidate { node, score: prepared.score(product) });
            },
        );
        self.prune(worker);
    }
}
