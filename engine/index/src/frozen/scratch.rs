//! The memory of a search, kept for the next one: after the first few, a search allocates nothing.

use super::beam::Beam;
use super::grid::Prepared;
use crate::Neighbor;
use crate::top::Top;

/// Room for one search at a time, over graphs of any size. Keep one a thread.
///
/// It holds a byte for each node of the largest graph it has served, and some kilobytes.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) prepared: Prepared,
    pub(crate) visited: Visited,
    pub(crate) beam: Beam,
    /// Nodes about to be scored.
    pub(crate) batch: Vec<u32>,
    /// Nodes on their way to be answers, with their scores so far.
    pub(super) near: Vec<(f32, u32)>,
    pub(super) top: Top,
    pub(super) found: Vec<Neighbor>,
    pub(crate) distances: u64,
    pub(super) rescored: u64,
    pub(super) swept: bool,
}

impl Scratch {
    /// No memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Codes that the last search compared with its query.
    #[must_use]
    pub fn distances(&self) -> u64 {
        self.distances
    }

    /// Candidates of the last search that were compared by the second level of their codes.
    #[must_use]
    pub fn rescored(&self) -> u64 {
        self.rescored
    }

    /// Whether the last search compared all codes, because the graph does not lead to what the filter lets through.
    #[must_use]
    pub fn swept(&self) -> bool {
        self.swept
    }

    /// Score of the tenth best node that the walk has met, by the first level; of the last when there are fewer.
    pub(crate) fn nearness(&self) -> f32 {
        self.beam.score_at(9).map_or(f32::MIN, |product| self.prepared.score(product))
    }

    pub(crate) fn start(&mut self, nodes: usize, beam: super::beam::Rule) {
        self.visited.start(nodes);
        self.beam.start(beam);
        self.batch.clear();
        self.found.clear();
        self.near.clear();
        (self.distances, self.rescored, self.swept) = (0, 0, false);
    }
}

/// Which nodes a search has seen: a stamp a node, so that starting anew is counting up.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    stamps: Vec<u8>,
    epoch: u8,
    nodes: usize,
}

impl Visited {
    fn start(&mut self, nodes: usize) {
        if self.stamps.len() < nodes {
            self.stamps.resize(nodes, 0);
        }
        self.nodes = nodes;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.stamps.fill(0);
            self.epoch = 1;
        }
    }

    /// Marks a node; whether it is there and was not marked before.
    pub(crate) fn mark(&mut self, node: u32) -> bool {
        let stamp = self.stamps[..self.nodes].get_mut(node as usize);
        stamp.is_some_and(|stamp| std::mem::replace(stamp, self.epoch) != self.epoch)
    }

    /// Those of `list` that are seen for the first time, into `batch`. A node that does not exist ends the list:
    /// it is the mark behind the last, or damage.
    #[inline]
    pub(crate) fn first_time(&mut self, list: &[u8], batch: &mut Vec<u32>) {
        let words: &[[u8; 4]] = list.as_chunks().0;
        batch.resize(words.len(), 0);
        let (stamps, epoch, mut count) = (&mut self.stamps[..self.nodes], self.epoch, 0);
        for word in words {
            let node = u32::from_le_bytes(*word);
            let Some(stamp) = stamps.get_mut(node as usize) else { break };
            // Without a branch: whether a node is new is a coin that no processor foresees.
            batch[count] = node;
            count += usize::from(*stamp != epoch);
            *stamp = epoch;
        }
        batch.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(list: &[u32]) -> Vec<u8> {
        list.iter().flat_map(|node| node.to_le_bytes()).collect()
    }

    #[test]
    fn stamps_survive_wrapping_and_growing() {
        let (mut visited, mut batch) = (Visited::default(), Vec::new());
        for round in 0..600 {
            visited.start(2 + round % 7);
            visited.first_time(&bytes(&[0, 1, 0]), &mut batch);
            assert_eq!(batch, [0, 1], "round {round}");
            visited.first_time(&bytes(&[1, 0]), &mut batch);
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn a_node_that_does_not_exist_ends_the_list() {
        let (mut visited, mut batch) = (Visited::default(), Vec::new());
        visited.start(9);
        visited.start(5);
        visited.first_time(&bytes(&[4, 3, 5, 1, u32::MAX]), &mut batch);
        assert_eq!(batch, [4, 3]);
    }
}
