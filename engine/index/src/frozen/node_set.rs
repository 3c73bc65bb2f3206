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

    /// Those of the 32 nodes from `start`, a multiple of 32: a bit each.
    #[inline]
    pub(super) fn block(&self, start: u32) -> u32 {
        self.words.get(start as usize / 64).map_or(0, |word| (word >> (start % 64)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_they_were_put_and_none_beside() {
        let (words, nodes) = (vec![1 | 1 << 63, 0, 0b110].into_boxed_slice(), 131);
        let set = NodeSet { words, nodes };
        assert_eq!([0, 32, 64, 128, 160, 192, 4096].map(|start| set.block(start)), [1, 1 << 31, 0, 0b110, 0, 0, 0]);
        let has: Vec<u32> = (0..300).filter(|node| set.has(*node)).collect();
        assert_eq!((has, set.fits(131), set.fits(130)), (vec![0, 63, 129, 130], true, false));
    }
}
