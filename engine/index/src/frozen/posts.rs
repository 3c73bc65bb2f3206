//! Where walks start: nodes spread over the graph, found by their codes in a few microseconds of reading in sequence.
//!
//! A walk from the middle of the graph spends half of its distances on getting near. So one node in [`NODES_PER_POST`]
//! is a *post*, posts that lie together share a *centre*, and a search compares the query with all centres, then with
//! the posts around the nearest, and walks from the best ([`Look`]). It is an inverted file (Sivic & Zisserman 2003) over
//! few enough rows that a list is read as fast as memory streams. A small graph has no posts: its walks start at its entry.

use fromagerie_kernels::Kernel;

use super::words::Words;

/// Nodes for each post.
pub(crate) const NODES_PER_POST: usize = 48;
/// Posts that are worth having: with fewer, walking from the entry is as fast.
pub(crate) const POSTS_MIN: usize = 64;
/// Of all centres, the posts of one in this many are looked at: in a larger graph the same few would be a smaller part of
/// what a query may be near to.
const CENTRES_PER_NEAR: usize = 36;
/// And those of so many in any case. Text is nearer to the centres of small groups, so few are not enough for it.
const NEAR_MIN: usize = 8;
/// Centres and posts that are kept at most.
const MOST: usize = 64;

/// How widely is looked for where a walk starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Nearest centres whose posts are looked at.
    centres: usize,
    /// Best posts that the walk starts from.
    starts: usize,
}

impl Look {
    /// As a search looks among so many centres.
    fn among(centres: usize) -> Self {
        let near = (centres / CENTRES_PER_NEAR).clamp(NEAR_MIN, MOST);
        Self { centres: near, starts: near / 2 }
    }

    /// As a builder looks: a node that joins among strangers is lost to every search to come.
    pub(crate) fn for_good(self) -> Self {
        Self { centres: MOST.min(3 * self.centres), starts: MOST.min(2 * self.starts) }
    }
}

/// The posts of a graph, in borrowed bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Posts<'a> {
    /// A code for each centre.
    pub(crate) centres: &'a [u8],
    /// For each centre, where its posts end.
    pub(crate) bounds: Words<'a>,
    /// The node of each post.
    pub(crate) nodes: Words<'a>,
    /// The code of each post again, so that those of one centre lie together.
    pub(crate) codes: &'a [u8],
    pub(crate) code_bytes: usize,
}

impl Posts<'_> {
    /// How widely a search looks.
    pub(crate) fn look(&self) -> Look {
        Look::among(self.bounds.len())
    }

    /// Hands the best posts for a prepared query to `start`, best first, with their scores; returns how many codes were
    /// read. What damage says is passed over.
    pub(crate) fn nearest(&self, kernel: &Kernel, query: &[i8], look: Look, mut start: impl FnMut(u32, i32)) -> usize {
        let width = self.code_bytes;
        let mut near = Best::of(look.centres);
        if width == 0 {
            return 0;
        }
        kernel.int4.dot_block(query, self.centres, width, |centre, score| near.offer(score, centre));
        let mut read = self.bounds.len();
        let mut best = Best::of(look.starts);
        for (_, centre) in near.iter() {
            let from = if centre == 0 { Some(0) } else { self.bounds.get(centre - 1) };
            let (Some(from), Some(until)) = (from, self.bounds.get(centre)) else { continue };
            let (from, until) = (from as usize, until as usize);
            let bytes = from.checked_mul(width).zip(until.checked_mul(width));
            let Some(codes) = bytes.and_then(|(from, until)| self.codes.get(from..until)) else { continue };
            kernel.int4.dot_block(query, codes, width, |post, score| best.offer(score, from + post));
            read += until - from;
        }
        for (score, post) in best.iter() {
            if let Some(node) = self.nodes.get(post) {
                start(node, score);
            }
        }
        read
    }
}

/// Posts that a builder has chosen, and owns.
#[derive(Debug, Default)]
pub(crate) struct ChosenPosts {
    pub(crate) centres: Vec<u8>,
    /// Little-endian words, as in [`Posts`].
    pub(crate) bounds: Vec<[u8; 4]>,
    pub(crate) nodes: Vec<[u8; 4]>,
    pub(crate) codes: Vec<u8>,
    pub(crate) code_bytes: usize,
}

impl ChosenPosts {
    /// As a walk sees them.
    pub(crate) fn view(&self) -> Posts<'_> {
        let (bounds, nodes) = (Words::of(self.bounds.as_flattened()), Words::of(self.nodes.as_flattened()));
        Posts { centres: &self.centres, bounds, nodes, codes: &self.codes, code_bytes: self.code_bytes }
    }
}

/// The best few of many, best first.
struct Best {
    places: [(i32, usize); MOST],
    filled: usize,
    wanted: usize,
}

impl Best {
    /// Of which so many are wanted, from 1 to [`MOST`].
    fn of(wanted: usize) -> Self {
        Self { places: [(i32::MIN, 0); MOST], filled: 0, wanted: wanted.clamp(1, MOST) }
    }

    #[inline]
    fn offer(&mut self, score: i32, which: usize) {
        if self.filled == self.wanted && score <= self.places[self.wanted - 1].0 {
            return;
        }
        let mut at = self.filled.min(self.wanted - 1);
        while at > 0 && self.places[at - 1].0 < score {
            self.places[at] = self.places[at - 1];
            at -= 1;
        }
        self.places[at] = (score, which);
        self.filled = (self.filled + 1).min(self.wanted);
    }

    fn iter(&self) -> impl Iterator<Item = (i32, usize)> {
        self.places[..self.filled].iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_many_and_of_few() {
        let mut best = Best::of(3);
        assert_eq!(best.iter().count(), 0);
        best.offer(i32::MIN, 7);
        assert_eq!(best.iter().collect::<Vec<_>>(), [(i32::MIN, 7)]);
        for (which, score) in [5, 1, 9, 5, 7, -3].into_iter().enumerate() {
            best.offer(score, which);
        }
        assert_eq!(best.iter().collect::<Vec<_>>(), [(9, 2), (7, 4), (5, 0)]);
    }

    #[test]
    fn more_is_looked_at_in_larger_graphs_and_for_good() {
        let looks = [0, 288, 524, 1 << 15].map(|centres| (Look::among(centres), Look::among(centres).for_good()));
        let told = looks.map(|(one, wide)| (one.centres, one.starts, wide.centres, wide.starts));
        assert_eq!(told, [(8, 4, 24, 8), (8, 4, 24, 8), (14, 7, 42, 14), (64, 32, 64, 64)]);
    }
}
