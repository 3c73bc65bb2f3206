//! A filter in the order of a graph's nodes: made once for a filter that is asked again, so that a search asks a bit and not a
//! row that lies elsewhere.

use super::format::Graph;

/// Nodes of one graph of which a row may be an answer.
#[derive(Clone, Debug)]
pub struct NodeSet {
    /// Bit `n % 64` of word `n / 64` for node `n`.
    words: Box<[u64]>,
    nodes: usize,
}

impl Graph<'_> {
    /// The nodes that stand for a row that `allow` lets through, found by asking for each row once.
    #[must_use]
    pub fn nodes_of(&self, allow: impl Fn(u32) -> bool) -> NodeSet {
        let mut words = vec![0_u64; self.info.nodes.div_ceil(64)].into_boxed_slice();
        for node in 0..self.info.nodes as u32 {
            words[node as usize / 64] |= u64::from(self.has_row(node, &allow)) << (node % 64);
        }
        NodeSet { words, nodes: self.info.nodes }
    }
}

impl NodeSet {
    /// Whether it can be of a graph with so many nodes.
    pub(super) fn fits(&self, nodes: usize) -> bool {
        self.nodes == nodes
    }

    #[inline]
    pub(super) fn has(&self, node: u32) -> bool {
        self.words.get(node as usize / 64).is_some_and(|word| word >> (node % 64) & 1 == 1)
    }

    /// Those from `start`, a multiple of 64, up to `stop`, ascending.
    pub(super) fn between(&self, start: u32, stop: u32) -> impl Iterator<Item = u32> {
        let (first, last) = (start as usize / 64, (stop as usize).div_ceil(64));
        let words = self.words.get(first..last.min(self.words.len())).unwrap_or_default();
        (first as u32..).zip(words).flat_map(|(at, word)| Bits(*word).map(move |bit| 64 * at + bit))
    }
}

/// The places of the ones in a word.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_none_beside() {
        let (words, nodes) = (vec![1 | 1 << 63, 0, 0b110].into_boxed_slice(), 131);
        let set = NodeSet { words, nodes };
        assert_eq!(set.between(0, 131).collect::<Vec<_>>(), [0, 63, 129, 130]);
        assert_eq!(set.between(64, 131).collect::<Vec<_>>(), [129, 130]);
        assert_eq!(set.between(192, 500).count(), 0);
        let has: Vec<u32> = (0..300).filter(|node| set.has(*node)).collect();
        assert_eq!((has, set.fits(131), set.fits(130)), (vec![0, 63, 129, 130], true, false));
    }
}
