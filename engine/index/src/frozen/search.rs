//! Walking a frozen graph.
//!
//! Greedy steps through the upper layers, then one beam over layer 0, as in Malkov & Yashunin 2018, Algorithms 2
//! and 5 (arXiv:1603.09320). A filter decides what may be an answer, not where the walk may go.

use fromagerie_kernels::Kernel;

use super::format::{Graph, Layer};
use super::scratch::Scratch;
use crate::{Neighbor, Query, Rows, SearchError, flat};

/// Expansions between two questions whether to stop.
const STEPS_PER_QUESTION: usize = 16;

impl Graph<'_> {
    /// Rows near to `query.vector`, best first, ties by row; the memory is `scratch`'s.
    ///
    /// The answer has as many neighbours as an exact search has: where the graph does not lead to `query.k` of them
    /// (the filter lets too few through, or the graph is damaged), the rows are scanned instead.
    ///
    /// # Errors
    /// [`SearchError::WrongRows`] when the graph was built over other rows, else as [`flat::search`].
    pub fn search<'s, R: Rows + ?Sized>(
        &self,
        rows: &R,
        query: &Query<'_>,
        scratch: &'s mut Scratch,
    ) -> Result<&'s [Neighbor], SearchError> {
        self.check_rows(rows)?;
        query.check(rows)?;
        let wanted = query.k.min(rows.len());
        scratch.start(rows.len(), query.beam(rows.len()));
        if wanted == 0 {
            return Ok(&[]);
        }
        let walk = Walk { graph: self, rows, query, kernel: Kernel::best() };
        let start = walk.descend(scratch);
        let led = walk.explore(start, scratch)?;
        let found = walk.collect(wanted, scratch);
        let cut_by_score = query.min_score.is_some() && scratch.beam.counting() >= wanted;
        if !led || (found < wanted && !cut_by_score) {
            scratch.scanned = true;
            scratch.distances += rows.len() as u64;
            flat::scan(rows, query, &mut scratch.top, &mut scratch.found)?;
        }
        Ok(&scratch.found)
    }

    fn check_rows<R: Rows + ?Sized>(&self, rows: &R) -> Result<(), SearchError> {
        let (graph_rows, graph_dim) = (self.info.rows, self.info.dim);
        if rows.len() == graph_rows && rows.dim() == graph_dim {
            return Ok(());
        }
        Err(SearchError::WrongRows { graph_rows, graph_dim, rows: rows.len(), dim: rows.dim() })
    }
}

/// One search on its way.
struct Walk<'w, R: ?Sized> {
    graph: &'w Graph<'w>,
    rows: &'w R,
    query: &'w Query<'w>,
    kernel: &'static Kernel,
}

impl<R: Rows + ?Sized> Walk<'_, R> {
    fn score(&self, row: u32) -> f32 {
        self.kernel.dot(self.query.vector, self.rows.row(row))
    }

    /// Down the upper layers to the row from which layer 0 is explored.
    fn descend(&self, scratch: &mut Scratch) -> Neighbor {
        let row = self.graph.info.entry;
        let mut best = Neighbor { row, score: self.score(row) };
        scratch.distances += 1;
        for layer in self.graph.layers[..self.graph.info.levels].iter().skip(1).rev() {
            let mut at = layer.position(best.row);
            while let Some(position) = at {
                at = self.step(layer, position, &mut best, scratch);
            }
        }
        best
    }

    /// The position of the best neighbour, if it is better than `best`.
    fn step(&self, layer: &Layer<'_>, position: usize, best: &mut Neighbor, scratch: &mut Scratch) -> Option<usize> {
        let count = self.rows.len();
        let with_row = |position: u32| Some((position, layer.rows.get(position as usize)?));
        let near = layer.lists.get(position).iter().filter_map(with_row).filter(|(_, row)| (*row as usize) < count);
        scratch.upper_batch.clear();
        scratch.upper_batch.extend(near);
        scratch.distances += scratch.upper_batch.len() as u64;
        let mut next = None;
        let row = |(_, row)| self.rows.row(row);
        self.kernel.dot_scattered(self.query.vector, &scratch.upper_batch, row, |(position, row), score| {
            if score > best.score {
                *best = Neighbor { row, score };
                next = Some(position as usize);
            }
        });
        next
    }

    /// Fills the beam from `start` on; `false` when the filter makes it pointless.
    fn explore(&self, start: Neighbor, scratch: &mut Scratch) -> Result<bool, SearchError> {
        let Scratch { visited, beam, batch, distances, .. } = scratch;
        visited.first_time(start.row, self.rows.len());
        beam.insert(start, self.counts(start.row));
        let mut steps = 0;
        while let Some(row) = beam.expand_next() {
            if steps % STEPS_PER_QUESTION == 0 {
                self.query.check_cancelled()?;
            }
            steps += 1;
            let near = self.graph.layers[0].lists.get(row as usize).iter();
            batch.clear();
            batch.extend(near.filter(|row| visited.first_time(*row, self.rows.len())));
            *distances += batch.len() as u64;
            self.kernel.dot_scattered(
                self.query.vector,
                batch,
                |row| self.rows.row(row),
                |row, score| {
                    let neighbor = Neighbor { row, score };
                    if beam.wants(&neighbor) {
                        beam.insert(neighbor, self.counts(row));
                    }
                },
            );
            if beam.is_overgrown() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the row or a twin of it may be an answer.
    #[inline]
    fn counts(&self, row: u32) -> bool {
        self.query.allow.is_none_or(|allow| allow(row) || self.twins_of(row).any(allow))
    }

    fn twins_of(&self, row: u32) -> impl Iterator<Item = u32> {
        let count = self.rows.len();
        self.graph.twins_of(row).iter().filter(move |twin| (*twin as usize) < count)
    }

    /// Moves the answers out of the beam, each with its twins; returns how many there are.
    fn collect(&self, wanted: usize, scratch: &mut Scratch) -> usize {
        let Scratch { beam, found, .. } = scratch;
        for Neighbor { row, score } in beam.answers(self.query) {
            if found.len() == wanted {
                break;
            }
            if self.query.allows(row) {
                found.push(Neighbor { row, score });
            }
            let room = wanted - found.len();
            let twins = self.twins_of(row).filter(|twin| self.query.allows(*twin)).take(room);
            found.extend(twins.map(|row| Neighbor { row, score: self.score(row) }));
        }
        found.sort_unstable();
        found.dedup();
        found.len()
    }
}
