//! One search over one snapshot: each segment is walked or scanned, the best of all are merged, and only then are
//! documents fetched, for the hits alone.
//!
//! Read next: [`filter`] says which rows may be returned.

mod filter;

use std::cell::RefCell;

use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::{DenseRows, HalfRows, Neighbor, Plan, Scored, SearchError, flat, plan};
use fromagerie_storage::{SegmentView, Snapshot, Vectors};

use crate::error::{Error, Result};
use crate::item::Document;
use crate::query::{Hit, Query};
use filter::Allowed;

/// Recall when the caller leaves it to us.
pub const RECALL_DEFAULT: f32 = 0.95;
/// Width of the beam by which it is decided whether a graph is worth reading at all.
const EF_TYPICAL: usize = 64;

/// What a search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Segments scanned exactly.
    pub scanned_segments: u32,
    /// Segments whose graph was walked.
    pub graph_segments: u32,
    /// Segments whose graph is damaged, so that they were scanned.
    pub degraded_segments: u32,
}

thread_local! {
    /// The traversal's memory: kept by each thread, so that no query allocates it.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The best `limit` items for `vector` (`[dim]`, unit length), best first; ties in the order of segments and rows.
///
/// # Errors
/// [`Error::Cancelled`]; damage in a segment that had to be read.
pub(crate) fn search(
    snapshot: &Snapshot,
    vector: &[f32],
    limit: usize,
    query: &Query,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Vec<Hit>, SearchStats)> {
    let mut stats = SearchStats::default();
    let mut found: Vec<(usize, Neighbor)> = Vec::new();
    for (number, segment) in snapshot.segments().iter().enumerate() {
        if segment.live_rows() == 0 {
            continue;
        }
        let allowed = Allowed::new(snapshot, number, query)?;
        let allows = |row| allowed.row(row);
        let ask = fromagerie_index::Query {
            vector,
            k: limit,
            ef: query.ef.unwrap_or(EF_TYPICAL).max(limit),
            min_score: query.score_min,
            allow: if allowed.all() { None } else { Some(&allows) },
            cancelled: Some(cancelled),
        };
        let nearest = search_segment(segment, ask, query, &mut stats)?;
        allowed.finish()?;
        found.extend(nearest.into_iter().map(|n| (number, n)));
    }
    if cancelled() {
        return Err(Error::Cancelled);
    }
    found.sort_unstable_by(|a, b| b.1.score.total_cmp(&a.1.score).then(a.0.cmp(&b.0)).then(a.1.row.cmp(&b.1.row)));
    found.truncate(limit);
    let hits =
        found.into_iter().map(|(number, near)| hit(&snapshot.segments()[number], near)).collect::<Result<_>>()?;
    Ok((hits, stats))
}

fn search_segment(
    segment: &SegmentView,
    ask: fromagerie_index::Query<'_>,
    query: &Query,
    stats: &mut SearchStats,
) -> Result<Vec<Neighbor>> {
    // The first touch of a sealed segment checks its bytes.
    let (vectors, dim) = (segment.vectors()?, segment.dim());
    let wrong = || SearchError::WrongDim { expected: dim, received: vectors.len() };
    match vectors {
        Vectors::F32(floats) => {
            search_rows(&DenseRows::new(floats, dim).ok_or_else(wrong)?, segment, ask, query, stats)
        }
        Vectors::F16(halves) => search_rows(&HalfRows::new(halves, dim).ok_or_else(wrong)?, segment, ask, query, stats),
    }
}

fn search_rows(
    rows: &impl Scored,
    segment: &SegmentView,
    mut ask: fromagerie_index::Query<'_>,
    query: &Query,
    stats: &mut SearchStats,
) -> Result<Vec<Neighbor>> {
    let wanted =
        !query.exact && plan(segment.rows() as usize, segment.live_rows() as usize, ask.k, ask.ef) == Plan::Graph;
    if wanted {
        match graph(segment) {
            Ok(Some(graph)) => {
                stats.graph_segments += 1;
                let recall = query.recall.unwrap_or(RECALL_DEFAULT);
                ask.ef = query.ef.unwrap_or_else(|| graph.ef_for(recall, ask.k));
                return SCRATCH.with_borrow_mut(|scratch| Ok(graph.search(rows, &ask, scratch)?.to_vec()));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(segment = segment.id(), %error, "a damaged graph: scanning the segment instead");
                stats.degraded_segments += 1;
            }
        }
    }
    stats.scanned_segments += 1;
    Ok(flat::search(rows, &ask)?)
}

fn graph(segment: &SegmentView) -> Result<Option<Graph<'_>>> {
    Ok(segment.graph()?.map(Graph::parse).transpose()?)
}

fn hit(segment: &SegmentView, near: Neighbor) -> Result<Hit> {
    Ok(Hit {
        key: segment.key(near.row)?.to_owned(),
        score: near.score.clamp(-1.0, 1.0),
        document: Document::read(segment.document(near.row)?)?,
    })
}
