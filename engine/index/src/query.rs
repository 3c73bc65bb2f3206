//! What every search of this room takes and gives.

use std::cmp::Ordering;
use std::fmt;

use crate::Scored;
use crate::frozen::NodeSet;

/// A row and its score, ordered best first: higher score, then lower row.
#[derive(Clone, Copy, Debug)]
pub struct Neighbor {
    /// Number of the row.
    pub row: u32,
    /// Cosine with the query, in -1..=1 up to rounding; higher is nearer.
    pub score: f32,
}

impl Ord for Neighbor {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Neighbor {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Neighbor {}

/// One search: what to look for, how much of it, and what does not count.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// `[dim]`, unit length.
    pub vector: &'a [f32],
    /// Neighbours wanted, at most.
    pub k: usize,
    /// Width of a graph's beam; below `k` it counts as `k`. A scan ignores it.
    pub ef: usize,
    /// Recall (0.80 to 0.999) for which a frozen graph chooses the beam itself, by how far the query turns out to be
    /// from its rows; `ef` then does not count.
    pub recall: Option<f32>,
    /// Neighbours with a lower score are left out.
    pub min_score: Option<f32>,
    /// Rows for which it says `false` are left out; they are still walked through. None: every row counts.
    pub allow: Option<&'a dyn Fn(u32) -> bool>,
    /// Nodes that hold all rows which `allow` lets through, and perhaps others: a graph asks it before `allow`. It must be
    /// of the very graph that is searched, else neighbours are missed.
    pub nodes: Option<&'a NodeSet>,
    /// Asked again and again; `true` ends the search with [`SearchError::Cancelled`].
    pub cancelled: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Query<'a> {
    /// The `k` nearest of all rows, with a beam of 64.
    #[must_use]
    pub fn new(vector: &'a [f32], k: usize) -> Self {
        Self { vector, k, ef: 64, recall: None, min_score: None, allow: None, nodes: None, cancelled: None }
    }

    /// The beam's width in use: `ef`, but not below `k` nor above `rows`, and at least 1.
    pub(crate) fn beam(&self, rows: usize) -> usize {
        self.ef.max(self.k).min(rows).max(1)
    }

    pub(crate) fn allows(&self, row: u32) -> bool {
        self.allow.is_none_or(|allow| allow(row))
    }

    pub(crate) fn is_good_enough(&self, score: f32) -> bool {
        self.min_score.is_none_or(|least| score >= least)
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), SearchError> {
        if self.cancelled.is_some_and(|cancelled| cancelled()) {
            return Err(SearchError::Cancelled);
        }
        Ok(())
    }

    pub(crate) fn check_vector(&self, dim: usize) -> Result<(), SearchError> {
        if self.vector.len() != dim {
            return Err(SearchError::WrongDim { expected: dim, received: self.vector.len() });
        }
        match self.vector.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(SearchError::NotFinite { at }),
            None => Ok(()),
        }
    }

    pub(crate) fn check<R: Scored + ?Sized>(&self, rows: &R) -> Result<(), SearchError> {
        self.check_vector(rows.dim())
    }
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("dim", &self.vector.len())
            .field("k", &self.k)
            .field("ef", &self.ef)
            .field("recall", &self.recall)
            .field("min_score", &self.min_score)
            .field("filtered", &self.allow.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a search gave no answer. An answer that is there is whole: nothing is cut short in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The query has another dimension than the rows.
    #[error("the query has {received} dimensions, the rows have {expected}")]
    WrongDim {
        /// Dimension of the rows.
        expected: usize,
        /// Dimension of the query.
        received: usize,
    },
    /// The query has a NaN or an infinity.
    #[error("the query is not finite at element {at}")]
    NotFinite {
        /// Which element.
        at: usize,
    },
    /// The graph was built on other rows than these.
    #[error("the graph is over {graph_rows} rows of {graph_dim}, these are {rows} rows of {dim}")]
    WrongRows {
        /// Rows the graph was built on.
        graph_rows: usize,
        /// Dimension the graph was built on.
        graph_dim: usize,
        /// Rows given.
        rows: usize,
        /// Dimension given.
        dim: usize,
    },
    /// The caller said stop.
    #[error("the search was cancelled")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_first_then_lower_row() {
        let mut hits = [(3, 0.5), (1, 0.5), (2, 0.9), (0, -1.0)].map(|(row, score)| Neighbor { row, score });
        hits.sort();
        assert_eq!(hits.map(|hit| hit.row), [2, 1, 3, 0]);
    }

    #[test]
    fn the_beam_holds_k_but_not_more_than_there_is() {
        let query = Query { ef: 5, ..Query::new(&[], 10) };
        assert_eq!((query.beam(1000), query.beam(7), query.beam(0)), (10, 7, 1));
    }
}
