//! What the steps of a build share: the codes, the lists so far, and the memory of whoever works on them.

use parking_lot::Mutex;
use rayon::prelude::*;

use super::twins::Twins;
use super::{Lists, VamanaParams};
use crate::Rows;
use crate::frozen::{ChosenPosts, END, Grid, Links, Prepared, Scratch, Walk, code_bytes};

/// A cache line.
const LINE: usize = 64;

/// A graph being built.
pub(super) struct Plan<'r, R: ?Sized> {
    pub(super) rows: &'r R,
    /// The row of each node.
    pub(super) nodes: Vec<u32>,
    pub(super) params: VamanaParams,
    pub(super) grid: Grid<'static>,
    codes: Vec<u8>,
    /// Where in `codes` the first cache line begins.
    codes_from: usize,
    /// `[nodes, degree]` little-endian words, [`END`] behind the last.
    pub(super) lists: Vec<[u8; 4]>,
    /// Slots in a list.
    pub(super) degree: usize,
    /// Slots that growing may fill; what is left is for training queries.
    pub(super) grown: usize,
    pub(super) entry: u32,
    /// Where walks start, once these nodes have joined.
    pub(super) posts: ChosenPosts,
    workers: Mutex<Vec<Worker>>,
}

impl<'r, R: Rows + Sync + ?Sized> Plan<'r, R> {
    /// No links yet, with room for those of growing and, if it `learns`, of training queries.
    pub(super) fn new(rows: &'r R, nodes: Vec<u32>, params: VamanaParams, learns: bool) -> Self {
        let grown = (params.degree + params.degree / 2).next_multiple_of(16);
        let degree = if learns { (grown + params.learned).next_multiple_of(16) } else { grown };
        let mut plan = Self::empty(rows, nodes, params, (grown, degree));
        plan.entry = plan.medoid();
        plan
    }

    /// A graph whose links are there, in lists of at most `widest`.
    pub(super) fn of(rows: &'r R, nodes: Vec<u32>, twins: &Twins, lists: &Lists, widest: usize) -> Self {
        let degree = widest.max(1).next_multiple_of(16);
        let mut plan = Self::empty(rows, nodes, VamanaParams::default(), (degree, degree));
        let node_of = plan.node_of_rows(twins);
        plan.entry = node_of.get(lists.entry as usize).copied().unwrap_or(0);
        for (node, slots) in (0..).zip(plan.lists.chunks_exact_mut(degree)) {
            let near = lists.near[plan.nodes[node as usize] as usize].iter().map(|row| node_of[*row as usize]);
            let near: Vec<u32> = near.filter(|near| *near != node).collect();
            fill(slots, &near);
        }
        plan
    }

    /// Learns the grid and writes the codes.
    fn empty(rows: &'r R, nodes: Vec<u32>, params: VamanaParams, (grown, degree): (usize, usize)) -> Self {
        let grid = Grid::learn(rows, &nodes);
        let size = code_bytes(rows.dim());
        let mut codes = vec![0; nodes.len() * size + LINE];
        let codes_from = codes.as_ptr().align_offset(LINE).min(LINE);
        let body = &mut codes[codes_from..codes_from + nodes.len() * size];
        body.par_chunks_mut(size).zip(&nodes).for_each(|(code, row)| grid.encode(rows.row(*row), code, &mut []));
        let lists = vec![END.to_le_bytes(); nodes.len() * degree];
        let workers = Mutex::default();
        let posts = ChosenPosts::default();
        Self { rows, nodes, params, grid, codes, codes_from, lists, degree, grown, entry: 0, posts, workers }
    }

    /// The node that stands for each row.
    pub(super) fn node_of_rows(&self, twins: &Twins) -> Vec<u32> {
        let mut node_of = vec![0; self.rows.len()];
        (0..).zip(&self.nodes).for_each(|(node, row)| node_of[*row as usize] = node);
        twins.iter().for_each(|(node, rows)| rows.iter().for_each(|row| node_of[*row as usize] = *node));
        node_of
    }

    /// The graph so far, as a walk sees it.
    pub(super) fn links(&self) -> Links<'_> {
        let code_bytes = code_bytes(self.rows.dim());
        let codes = &self.codes[self.codes_from..self.codes_from + self.nodes.len() * code_bytes];
        Links { codes, lists: self.lists.as_flattened(), code_bytes, degree: self.degree, nodes: self.nodes.len() }
    }

    /// Walks over the graph so far, from the posts, as a search would.
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk::from_posts(self.links(), self.posts.view())
    }

    /// The vector of a node.
    pub(super) fn vector(&self, node: u32) -> &'r [f32] {
        self.rows.row(self.nodes[node as usize])
    }

    /// The node nearest to the mean of all.
    fn medoid(&self) -> u32 {
        let mut prepared = Prepared::default();
        prepared.prepare(&self.grid, &self.grid.mean);
        let (links, kernel) = (self.links(), fromagerie_kernels::Kernel::best());
        let score = |node: u32| (kernel.int4.dot(prepared.coarse(), links.code(node)), std::cmp::Reverse(node));
        let best = (0..self.nodes.len() as u32).into_par_iter().map(score).max();
        best.map_or(0, |(_, node)| node.0)
    }

    /// Lets `work` use a worker's memory.
    pub(super) fn with_worker<T>(&self, work: impl FnOnce(&mut Worker) -> T) -> T {
        let mut worker = self.workers.lock().pop().unwrap_or_default();
        let result = work(&mut worker);
        self.workers.lock().push(worker);
        result
    }
}

/// The memory of one thread.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) scratch: Scratch,
    pub(super) prepared: Prepared,
    pub(super) candidates: Vec<Candidate>,
    pub(super) kept: Vec<u32>,
    /// Products of a candidate that is kept with those behind it.
    pub(super) between: Vec<i32>,
}

/// A node that may become a neighbour, and its score with the one whose neighbour it may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) node: u32,
    pub(super) score: f32,
}

/// The worker's candidates: every node that a walk for its query finds.
pub(super) fn find(worker: &mut Worker, walk: Walk<'_>, entry: u32, rule: crate::frozen::Rule) {
    let Worker { scratch, candidates, .. } = worker;
    scratch.start(walk.links.nodes, rule);
    walk.run(entry, scratch);
    candidates.clear();
    let found = scratch.beam.answers();
    candidates.extend(found.map(|(node, product)| Candidate { node, score: scratch.prepared.score(product) }));
}

/// The neighbours in the slots of a list.
pub(super) fn neighbours(slots: &[[u8; 4]]) -> impl Iterator<Item = u32> {
    slots.iter().map(|word| u32::from_le_bytes(*word)).take_while(|near| *near != END)
}

/// Fills the slots of a list.
pub(super) fn fill(slots: &mut [[u8; 4]], near: &[u32]) {
    slots.fill(END.to_le_bytes());
    slots.iter_mut().zip(near).for_each(|(slot, near)| *slot = near.to_le_bytes());
}
