//! Where walks start: nodes spread over the graph, found by their codes in a few microseconds of reading in sequence.
//!
//! A walk from the middle of the graph spends half of its distances on getting near. So one node in [`NODES_PER_POST`]
//! is a *post*, posts that lie together share a *centre*, and a search compares the query with all centres, then with
//! the posts around the nearest, and walks from the best ([`Look`]). It is an inverted file (Sivic & Zisserman 2003) over
//! few enough rows that a list is read as fast as memory streams. A small graph has no posts: its walks start at its entry.
//!
//! What a query from elsewhere looks for need not lie near the nearest centres: a walk that starts among the wrong rows
//! ends there, with nothing right. So a search whose query is far from all posts that it has looked at looks at many more.
//! Where there were enough training queries, some of them are posts too, which stand for the node that answers them
//! best: whoever asks likewise is near to those, and starts where they led.

use std::cmp::Reverse;

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
/// Of all centres, a search for a far query looks at the posts of one in so many.
const CENTRES_PER_FAR: usize = 4;
/// Of the centres that it looks at, it starts from one post for so many.
const CENTRES_PER_START: usize = 4;
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
    /// The node where a walk from each post starts.
    pub(crate) nodes: Words<'a>,
    /// The code of each post, so that those of one centre lie together: its node's again, or a training query's.
    pub(crate) codes: &'a [u8],
    pub(crate) code_bytes: usize,
}

impl Posts<'_> {
    /// How widely a search looks.
    pub(crate) fn look(&self) -> Look {
        Look::among(self.bounds.len())
    }

    /// Hands the nodes of the best posts for a prepared query to `start`, best first, with the posts' scores; returns how
    /// many codes were read. What damage says is passed over.
    pub(crate) fn nearest(&self, query: (&Kernel, &[i8]), look: Look, start: impl FnMut(u32, i32)) -> usize {
        if self.code_bytes == 0 {
            return 0;
        }
        let mut near = Best::of(look.centres);
        self.each_centre(query, |centre, score| near.offer(score, centre));
        let centres = near.iter().map(|(_, centre)| centre);
        self.bounds.len() + self.best_around(centres, look.starts, query, start)
    }

    /// The same with posts around many more centres, but not around those that a `look` has been at.
    pub(crate) fn further(
        &self,
        query: (&Kernel, &[i8]),
        look: Look,
        ranked: &mut Vec<(Reverse<i32>, usize)>,
        start: impl FnMut(u32, i32),
    ) -> usize {
        let wanted = self.bounds.len() / CENTRES_PER_FAR;
        if self.code_bytes == 0 || wanted <= look.centres {
            return 0;
        }
        ranked.clear();
        self.each_centre(query, |centre, score| ranked.push((Reverse(score), centre)));
        ranked.select_nth_unstable(wanted);
        ranked[..wanted].sort_unstable();
        let centres = ranked[look.centres..wanted].iter().map(|(_, centre)| *centre);
        self.bounds.len() + self.best_around(centres, wanted / CENTRES_PER_START, query, start)
    }

    fn each_centre(&self, (kernel, query): (&Kernel, &[i8]), each: impl FnMut(usize, i32)) {
        kernel.int4.dot_block(query, self.centres, self.code_bytes, each);
    }

    /// Hands the best posts around `centres` to `start`; returns how many posts there are.
    fn best_around(
        &self,
        centres: impl Iterator<Item = usize>,
        wanted: usize,
        (kernel, query): (&Kernel, &[i8]),
        mut start: impl FnMut(u32, i32),
    ) -> usize {
        let width = self.code_bytes;
        let (mut best, mut read) = (Best::of(wanted), 0);
        for centre in centres {
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
    fn further_posts_are_the_next_best_and_none_twice() {
        // Each centre has one post, with its code: some elements 7 and the others 0, more of them the higher the score.
        let count = 64;
        let code = |n: usize| (0..32).map(move |at| if 2 * at < (n * 37) % count { 0x77 } else { 0x00 });
        let codes: Vec<u8> = (0..count).flat_map(code).collect();
        let posts = ChosenPosts {
            centres: codes.clone(),
            bounds: (1..=count as u32).map(u32::to_le_bytes).collect(),
            nodes: (0..count as u32).map(u32::to_le_bytes).collect(),
            codes,
            code_bytes: 32,
        };
        let (posts, kernel, query) = (posts.view(), Kernel::best(), [1i8; 64]);
        let look = Look { centres: 8, starts: 8 };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let read = posts.nearest((kernel, &query), look, |node, score| first.push((score, node)));
        assert_eq!((read, first.len()), (count + 8, 8));
        let read = posts.further((kernel, &query), look, &mut Vec::new(), |node, score| second.push((score, node)));
        assert_eq!((read, second.len()), (count + 8, 4));
        let score = |node: u32| kernel.int4.dot(&query, &posts.codes[node as usize * 32..][..32]);
        let mut all: Vec<i32> = (0..count as u32).map(score).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let scores = |found: &[(i32, u32)]| found.iter().map(|(score, _)| *score).collect::<Vec<_>>();
        assert_eq!((scores(&first), scores(&second)), (all[..8].to_vec(), all[8..12].to_vec()));
        assert!(second.iter().all(|(_, node)| first.iter().all(|(_, other)| other != node)));
        let wide = Look { centres: 16, starts: 8 };
        assert_eq!(posts.further((kernel, &query), wide, &mut Vec::new(), |_, _| panic!("nothing is left")), 0);
    }

    #[test]
    fn more_is_looked_at_in_larger_graphs_and_for_good() {
        let looks = [0, 288, 524, 1 << 15].map(|centres| (Look::among(centres), Look::among(centres).for_good()));
        let told = looks.map(|(one, wide)| (one.centres, one.starts, wide.centres, wide.starts));
        assert_eq!(told, [(8, 4, 24, 8), (8, 4, 24, 8), (14, 7, 42, 14), (64, 32, 64, 64)]);
    }
}
