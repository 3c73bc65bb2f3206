//! The memory of a search, kept for the next one: after the first few, a search allocates nothing.

use std::cmp::Reverse;

use super::beam::Beam;
use super::calibration::MET;
use super::grid::Prepared;
use crate::Neighbor;
use crate::top::Top;

/// Room for one search at a time, over graphs of any size. Keep one a thread.
///
/// It holds a bit and a little for each node of the largest graph it has served, and some kilobytes.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) prepared: Prepared,
    pub(crate) visited: Visited,
    pub(crate) beam: Beam,
    /// Centres of posts, with their scores.
    pub(super) ranked: Vec<(Reverse<i32>, usize)>,
    /// Nodes about to be scored.
    pub(crate) batch: Vec<u32>,
    /// Nodes on their way to be answers, with their scores so far.
    pub(super) near: Vec<(f32, u32)>,
    pub(super) top: Top,
    pub(super) found: Vec<Neighbor>,
    pub(crate) distances: u64,
    pub(super) rescored: u64,
    pub(super) signs: u64,
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

    /// Nodes whose signs the last search read, one bit an element.
    #[must_use]
    pub fn signs(&self) -> u64 {
        self.signs
    }

    /// Candidates of the last search that were compared by the second level of their codes.
    #[must_use]
    pub fn rescored(&self) -> u64 {
        self.rescored
    }

    /// Whether the last search went over all nodes, because the graph does not lead to what the filter lets through.
    #[must_use]
    pub fn swept(&self) -> bool {
        self.swept
    }

    /// Score of the tenth best node that the walk has met, by the first level; of the last when there are fewer.
    pub(crate) fn nearness(&self) -> f32 {
        self.beam.score_at(MET - 1).map_or(f32::MIN, |product| self.prepared.score(product))
    }

    pub(crate) fn start(&mut self, nodes: usize, beam: super::beam::Rule) {
        self.visited.start(nodes);
        self.beam.start(beam);
        self.batch.clear();
        self.found.clear();
        self.near.clear();
        (self.distances, self.rescored, self.signs, self.swept) = (0, 0, 0, false);
    }
}

/// Which nodes a search has seen: a bit each. A word has a stamp too, so that starting anew is counting up.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    words: Vec<u64>,
    epoch: u8,
    nodes: u32,
}

impl Visited {
    /// Nodes of a word; its stamp is above them.
    const NODES: u32 = 56;

    fn start(&mut self, nodes: usize) {
        let words = nodes.div_ceil(Self::NODES as usize);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        self.nodes = nodes as u32;
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.words.fill(0);
            self.epoch = 1;
        }
    }

    /// Marks a node; whether it was not marked before, and none when there is no such node.
    #[inline]
    fn see(&mut self, node: u32) -> Option<bool> {
        if node >= self.nodes {
            return None;
        }
        let word = self.words.get_mut((node / Self::NODES) as usize)?;
        let stamp = u64::from(self.epoch) << Self::NODES;
        let seen = if *word >> Self::NODES == u64::from(self.epoch) { *word } else { stamp };
        let bit = 1 << (node % Self::NODES);
        *word = seen | bit;
        Some(seen & bit == 0)
    }

    /// Marks a node; whether it is there and was not marked before.
    pub(crate) fn mark(&mut self, node: u32) -> bool {
        self.see(node) == Some(true)
    }

    /// Those of `list` that are seen for the first time, into `batch`. A node that does not exist ends the list:
    /// it is the mark behind the last, or damage.
    #[inline]
    pub(crate) fn first_time(&mut self, list: &[u8], batch: &mut Vec<u32>) {
        let words: &[[u8; 4]] = list.as_chunks().0;
        batch.resize(words.len(), 0);
        let mut count = 0;
        for word in words {
            let node = u32::from_le_bytes(*word);
            let Some(is_new) = self.see(node) else { break };
            // Without a branch: whether a node is new is a coin that no processor foresees.
            batch[count] = node;
            count += usize::from(is_new);
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
