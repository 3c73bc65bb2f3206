//! One walk over a graph, in two halves: asking memory for what comes next, and reading what has come.
//!
//! Best-first search over one layer, as in Subramanya et al. 2019, Algorithm 1, with the rule of [`super::beam`] for
//! when to stop. Between the halves the processor can do something else: a batch walks for several queries at once,
//! so that one computes while another waits for memory.

use fromagerie_kernels::{Kernel, prefetch};

use super::calibration::NEVER;
use super::format::Links;
use super::posts::{Look, Posts};
use super::scratch::Scratch;

/// A walk's steps over `links` with the memory of a [`Scratch`], whose query is prepared.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'w> {
    pub(crate) links: Links<'w>,
    pub(crate) kernel: &'static Kernel,
    posts: Posts<'w>,
    look: Look,
    /// Score of the best post below which more of them are looked at.
    far: f32,
}

impl<'w> Walk<'w> {
    /// Walks that start at posts, or where there are none at an entry.
    pub(crate) fn from_posts(links: Links<'w>, posts: Posts<'w>) -> Self {
        Self { links, kernel: Kernel::best(), posts, look: posts.look(), far: NEVER }
    }

    /// The same, looking as widely for where to start as a builder does.
    pub(crate) fn for_good(self) -> Self {
        Self { look: self.look.for_good(), ..self }
    }

    /// The same for queries of which those are far whose best post scores less.
    pub(crate) fn far_below(self, far: f32) -> Self {
        Self { far, ..self }
    }

    /// The first nodes: from now on they are in the beam, alone.
    pub(crate) fn enter(&self, entry: u32, scratch: &mut Scratch, counts: impl Fn(u32) -> bool) {
        let Scratch { prepared, visited, batch, ranked, .. } = scratch;
        let mut best = i32::MIN;
        let mut start = |node, score: i32, best: &mut i32| {
            if visited.mark(node) {
                *best = score.max(*best);
                batch.push(node);
            }
        };
        let query = (self.kernel, prepared.coarse());
        let mut read = self.posts.nearest(query, self.look, |node, score| start(node, score, &mut best));
        if prepared.score(best) < self.far {
            read += self.posts.further(query, self.look, ranked, |node, score| start(node, score, &mut best));
        }
        if batch.is_empty() {
            visited.mark(entry);
            batch.push(entry);
        }
        scratch.distances += (read + scratch.batch.len()) as u64;
        self.ask_codes(scratch);
        self.read(scratch, counts);
    }

    /// The next node to expand, whose list is on its way; `None` at the end of the walk.
    #[inline]
    pub(crate) fn next(&self, scratch: &mut Scratch) -> Option<u32> {
        let node = scratch.beam.expand_next()?;
        prefetch(self.links.list_bytes(node));
        Some(node)
    }

    /// First half: which neighbours of `node` are new; their codes are on their way.
    #[inline]
    pub(crate) fn ask(&self, node: u32, scratch: &mut Scratch) {
        scratch.visited.first_time(self.links.list_bytes(node), &mut scratch.batch);
        scratch.distances += scratch.batch.len() as u64;
        self.ask_codes(scratch);
    }

    #[inline]
    fn ask_codes(&self, scratch: &Scratch) {
        for near in &scratch.batch {
            prefetch(self.links.code(*near));
        }
    }

    /// Second half: they are scored, and take their places in the beam.
    #[inline]
    pub(crate) fn read(&self, scratch: &mut Scratch, counts: impl Fn(u32) -> bool) {
        let Scratch { prepared, beam, batch, .. } = scratch;
        let code = |near| self.links.code(near);
        self.kernel.int4.dot_ready(prepared.coarse(), batch, code, |near, score| {
            beam.offer(near, score, || counts(near));
        });
    }

    /// The whole walk from `entry`.
    pub(crate) fn run(&self, entry: u32, scratch: &mut Scratch) {
        self.enter(entry, scratch, |_| true);
        self.go_on(scratch);
    }

    /// The walk after it has entered.
    pub(crate) fn go_on(&self, scratch: &mut Scratch) {
        while self.step(scratch) {}
    }

    /// One step: the best node that was not expanded is; `false` at the end of the walk.
    pub(crate) fn step(&self, scratch: &mut Scratch) -> bool {
        let Some(node) = self.next(scratch) else { return false };
        self.ask(node, scratch);
        self.read(scratch, |_| true);
        true
    }
}
