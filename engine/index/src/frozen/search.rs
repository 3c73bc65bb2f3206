//! Searching a frozen graph: a walk over codes, then fewer and fewer candidates looked at more and more closely.
//!
//! The walk's candidates are re-scored by the second level of their codes as far as the error of the first leaves it
//! open whether they are among the best, and by their rows as far as the error of the second does. A filter decides
//! what may be an answer, not where the walk may go.

use super::beam::Rule;
use super::calibration::LOOK_AFTER;
use super::format::Graph;
use super::node_set::NodeSet;
use super::scratch::Scratch;
use super::walk::Walk;
use crate::{DenseRows, Neighbor, Query, Scored, SearchError, flat};

/// Expansions between two questions whether to stop.
const STEPS_PER_QUESTION: usize = 16;
/// Nodes that a sweep goes over at the cost of one code that a walk compares, with its share of lists and beam.
const SWEPT_PER_WALKED: u64 = 16;
/// Neighbours that a search looks for at least: the best of all alone is too shaky a measure of what may be left out.
pub(super) const K_MIN: usize = 10;
/// Searches of a batch that go on at the same time in one thread.
const AT_ONCE: usize = 6;

impl Graph<'_> {
    /// Rows near to `query.vector`, best first, ties by row; the memory is `scratch`'s. Scores are computed from rows.
    ///
    /// The answer has as many neighbours as an exact search has: where the graph does not lead to `query.k` of them
    /// (the filter lets too few through, or keeps what lies far), all nodes are gone over instead, and where those are not
    /// enough either (the graph is damaged), the rows.
    ///
    /// # Errors
    /// [`SearchError::WrongRows`] when the graph was built over other rows, else as [`flat::search`].
    pub fn search<'s, R: Scored + ?Sized>(
        &self,
        rows: &R,
        query: &Query<'_>,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [Neighbor], SearchError> {
        self.check_rows(rows)?;
        query.check(rows)?;
        let wanted = query.k.min(rows.len());
        if !self.reach(Some(rows), query, scratch)? {
            scratch.distances += rows.len() as u64;
            flat::scan(rows, query, &mut scratch.top, &mut scratch.found)?;
        }
        debug_assert!(scratch.found.len() <= wanted);
        Ok(&scratch.found)
    }

    /// The same from the codes alone, without touching a row: scores are off by some [`Graph::fine_error`], and where
    /// the codes do not have `query.k` neighbours there are fewer. For rows that memory cannot hold.
    ///
    /// # Errors
    /// As [`flat::search`].
    pub fn search_codes<'s>(&self, query: &Query<'_>, scratch: &'s mut Scratch) -> Result<&'s [Neighbor], SearchError> {
        query.check_vector(self.info.dim)?;
        self.reach(None::<&DenseRows<'_>>, query, scratch)?;
        Ok(&scratch.found)
    }

    /// [`Self::search_codes`] for many queries, some of them at a time, so that one computes while others wait for
    /// memory. `each` gets the number of the query, and its neighbours, in any order of queries.
    ///
    /// `vectors`: `[n, dim]`, unit length; `lanes` is memory that the next batch uses again.
    ///
    /// # Errors
    /// [`SearchError::WrongDim`] when `vectors` are no whole vectors, [`SearchError::NotFinite`].
    pub fn search_batch(
        &self,
        vectors: &[f32],
        (k, ef): (usize, usize),
        lanes: &mut Vec<Scratch>,
        mut each: impl FnMut(usize, &[Neighbor], &Scratch),
    ) -> Result<(), SearchError> {
        let dim = self.info.dim;
        if !vectors.len().is_multiple_of(dim) {
            return Err(SearchError::WrongDim { expected: dim, received: vectors.len() % dim });
        }
        if let Some(at) = vectors.iter().position(|x| !x.is_finite()) {
            return Err(SearchError::NotFinite { at: at % dim });
        }
        let queries = vectors.chunks_exact(dim).map(|vector| Query { ef, ..Query::new(vector, k) });
        let mut waiting = queries.enumerate();
        lanes.resize_with(lanes.len().max(AT_ONCE), Scratch::new);
        let walk = self.walks();
        let mut busy: [Option<Lane<'_>>; AT_ONCE] = [const { None }; AT_ONCE];
        loop {
            let mut idle = true;
            for (busy, scratch) in busy.iter_mut().zip(lanes.iter_mut()) {
                if let Some(lane) = busy {
                    idle = false;
                    match lane.step {
                        Step::Ask(node) => {
                            walk.ask(node, scratch);
                            lane.step = Step::Read;
                            continue;
                        }
                        Step::Read => walk.read(scratch, |_| true),
                    }
                    lane.length.step();
                    if self.is_too_long(&lane.query, lane.length, scratch) {
                        self.sweep(&lane.query, scratch)?;
                    } else if let Some(node) = walk.next(scratch) {
                        lane.step = Step::Ask(node);
                        continue;
                    }
                    self.collect(None::<&DenseRows<'_>>, &lane.query, scratch);
                    each(lane.number, &scratch.found, scratch);
                }
                *busy = None;
                if let Some((number, query)) = waiting.next() {
                    idle = false;
                    match self.enter(&walk, &query, scratch) {
                        Some(node) => {
                            let length = Length::after_entering(scratch);
                            *busy = Some(Lane { number, query, step: Step::Ask(node), length });
                        }
                        None => each(number, &[], scratch),
                    }
                }
            }
            if idle {
                return Ok(());
            }
        }
    }

    /// What scores by codes may be off.
    #[must_use]
    pub fn fine_error(&self) -> f32 {
        self.calibration.fine_error
    }

    /// The beam with which recall@`k` was `recall` (0.80 to 0.999) when the graph was built, for queries that are as near
    /// to the rows as they are to each other.
    #[must_use]
    pub fn ef_for(&self, recall: f32, k: usize) -> usize {
        self.calibration.beam(recall, 0) * k.max(10) / 10
    }

    fn check_rows<R: Scored + ?Sized>(&self, rows: &R) -> Result<(), SearchError> {
        let (graph_rows, graph_dim) = (self.info.rows, self.info.dim);
        if rows.len() == graph_rows && rows.dim() == graph_dim {
            return Ok(());
        }
        Err(SearchError::WrongRows { graph_rows, graph_dim, rows: rows.len(), dim: rows.dim() })
    }

    /// Prepares a search and takes its first step; `None` when there is nothing to search for.
    fn enter(&self, walk: &Walk<'_>, query: &Query<'_>, scratch: &mut Scratch) -> Option<u32> {
        let k = query.k.max(K_MIN).min(self.info.nodes);
        scratch.prepared.prepare(&self.grid, query.vector);
        let ef = query.recall.map_or(query.ef, |recall| self.calibration.widest(recall) * k / 10);
        scratch.start(self.info.nodes, self.rule(query, ef, scratch));
        if k == 0 || query.k == 0 {
            return None;
        }
        walk.enter(self.info.entry, scratch, |node| self.counts(query, node));
        walk.next(scratch)
    }

    fn walks(&self) -> Walk<'_> {
        Walk::from_posts(self.links, self.posts).far_below(self.calibration.far_from_posts())
    }

    /// When a walk with a beam of `ef` ends.
    fn rule(&self, query: &Query<'_>, ef: usize, scratch: &Scratch) -> Rule {
        let k = query.k.max(K_MIN).min(self.info.nodes);
        let ef = ef.clamp(1, self.info.nodes.max(1));
        let products = |difference| scratch.prepared.products(difference);
        let (tolerance, margin) = (self.calibration.tolerance(k, ef), self.calibration.coarse_error);
        let rule = Rule::of(k, ef, products(tolerance), products(margin));
        if query.allow.is_some() { rule.under_filter(query.recall) } else { rule }
    }

    /// After the first few steps: chooses the beam for the recall asked for by how near the query is to what it has met.
    fn look(&self, query: &Query<'_>, scratch: &mut Scratch) {
        if let Some(recall) = query.recall {
            let degree = self.calibration.degree(scratch.nearness());
            let k = query.k.max(K_MIN).min(self.info.nodes);
            scratch.beam.go_by(self.rule(query, self.calibration.beam(recall, degree) * k / 10, scratch));
        }
    }

    /// Whether a walk, with what it has before it, costs more than a sweep over all nodes. Answered now
    /// and then, and not under a filter, where a walk has its own reasons to give up.
    fn is_too_long(&self, query: &Query<'_>, length: Length, scratch: &Scratch) -> bool {
        if query.allow.is_some() || !length.is_time_to_ask() {
            return false;
        }
        let walked = scratch.distances - length.in_sequence;
        let ahead = walked / length.steps as u64 * scratch.beam.waiting() as u64;
        (walked + ahead) * SWEPT_PER_WALKED > self.info.nodes as u64
    }

    /// Fills the beam; `false` when a sweep is better.
    fn walk(&self, query: &Query<'_>, scratch: &mut Scratch) -> Result<bool, SearchError> {
        let walk = self.walks();
        let mut at = self.enter(&walk, query, scratch);
        let mut length = Length::after_entering(scratch);
        query.check_cancelled()?;
        while let Some(node) = at {
            walk.ask(node, scratch);
            walk.read(scratch, |near| self.counts(query, near));
            length.step();
            if length.steps == LOOK_AFTER {
                self.look(query, scratch);
            }
            if length.is_time_to_ask() {
                query.check_cancelled()?;
            }
            if scratch.beam.is_overgrown() || self.is_too_long(query, length, scratch) {
                return Ok(false);
            }
            at = walk.next(scratch);
        }
        Ok(!scratch.beam.is_overgrown())
    }

    /// The query's nodes, unless they are another graph's.
    #[inline]
    pub(super) fn in_set<'q>(&self, query: &Query<'q>) -> Option<&'q NodeSet> {
        query.nodes.filter(|set| set.fits(self.info.nodes))
    }

    /// Whether the node's row or a twin of it may be an answer.
    #[inline]
    pub(super) fn counts(&self, query: &Query<'_>, node: u32) -> bool {
        let Some(allow) = query.allow else { return true };
        self.in_set(query).is_none_or(|set| set.has(node)) && self.has_row(node, allow)
    }

    /// Walks, or where that does not lead to enough sweeps, and collects; whether it found as many as an exact search does.
    fn reach<R: Scored + ?Sized>(
        &self,
        rows: Option<&R>,
        query: &Query<'_>,
        scratch: &mut Scratch,
    ) -> Result<bool, SearchError> {
        if self.walk(query, scratch)? && self.collect(rows, query, scratch) {
            return Ok(true);
        }
        self.sweep(query, scratch)?;
        Ok(self.collect(rows, query, scratch))
    }

    /// Moves the answers out of the beam into `scratch.found`; whether there are as many as an exact search finds.
    fn collect<R: Scored + ?Sized>(&self, rows: Option<&R>, query: &Query<'_>, scratch: &mut Scratch) -> bool {
        let wanted = query.k.min(self.info.rows);
        self.rescore(wanted, scratch);
        let Scratch { near, found, .. } = scratch;
        let open = 2.0 * self.calibration.fine_error;
        let least = near.get(wanted.saturating_sub(1)).map_or(f32::MIN, |(score, _)| score - open);
        if let Some(rows) = rows {
            let open = near.iter().take_while(|(estimate, _)| *estimate >= least);
            open.filter_map(|(_, node)| self.row_of(*node)).for_each(|row| rows.ask(row));
        }
        for (estimate, node) in near.iter().copied() {
            let settled = found.len() >= wanted && (rows.is_none() || estimate < least);
            if settled {
                break;
            }
            let group = self.row_of(node).into_iter().chain(self.twins_of(node));
            let mut score = None;
            for row in group.filter(|row| query.allows(*row)) {
                let score = *score.get_or_insert_with(|| match rows {
                    Some(rows) => rows.score(query.vector, row),
                    None => estimate,
                });
                found.push(Neighbor { row, score });
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(wanted);
        let enough = found.len() >= wanted;
        found.retain(|neighbor| query.is_good_enough(neighbor.score));
        enough
    }

    /// Into `scratch.near`, best first: those of the beam that may be among the `wanted` best, by both levels.
    fn rescore(&self, wanted: usize, scratch: &mut Scratch) {
        let Scratch { prepared, beam, near, rescored, .. } = scratch;
        let open = prepared.products(self.calibration.coarse_error);
        let kth =
            beam.answers().nth(wanted.saturating_sub(1)).map_or(i32::MIN, |(_, score)| score.saturating_sub(open));
        let candidates = || beam.answers().take_while(|(_, score)| *score >= kth);
        for (node, _) in candidates() {
            fromagerie_kernels::prefetch(self.rest(node));
        }
        prepared.refine();
        let prepared = &*prepared;
        near.extend(
            candidates()
                .map(|(node, product)| (prepared.rescore(product, self.links.code(node), self.rest(node)), node)),
        );
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        *rescored = near.len() as u64;
    }
}

/// A search of a batch, under way.
struct Lane<'q> {
    number: usize,
    query: Query<'q>,
    step: Step,
    length: Length,
}

/// How long a walk is.
#[derive(Clone, Copy)]
struct Length {
    steps: usize,
    /// Codes that were compared beside it, to find where it starts.
    in_sequence: u64,
}

impl Length {
    fn after_entering(scratch: &Scratch) -> Self {
        Self { steps: 0, in_sequence: scratch.distances }
    }

    fn step(&mut self) {
        self.steps += 1;
    }

    fn is_time_to_ask(self) -> bool {
        self.steps.is_multiple_of(STEPS_PER_QUESTION)
    }
}

/// Which half of a step comes next.
#[derive(Clone, Copy)]
enum Step {
    Ask(u32),
    Read,
}
