//! One search over one snapshot: each segment is walked or scanned, the best of all are merged, and only then are
//! documents fetched, for the hits alone.
//!
//! Read next: [`allowed`] says which rows may be returned, [`payloads`] how a filter finds them,
//! [`memory`] what happens when more rows are in memory than can be scanned, [`spread`] how hits are kept apart.

mod allowed;
pub(crate) mod memory;
pub(crate) mod payloads;
mod spread;

use std::cell::RefCell;

use fromagerie_index::frozen::Scratch;
use fromagerie_index::{DenseRows, HalfRows, Neighbor, Plan, Scored, SearchError, flat, plan};
use fromagerie_storage::{Location, SegmentView, Snapshot, Vectors};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::graph;
use crate::item::Document;
use crate::query::{Hit, Query};
use allowed::Allowed;
use memory::MemoryGraph;
pub(crate) use payloads::Lister;
pub(crate) use spread::spread;

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

/// One search: the query and what it has been turned into.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// `[dim]`, unit length.
    pub(crate) vector: &'a [f32],
    /// Of what no hit may nearly duplicate, beside what the query excludes; unit length.
    pub(crate) unlike: &'a [Vec<f32>],
    pub(crate) limit: usize,
    /// What may be returned, and how well to look.
    pub(crate) query: &'a Query,
    /// Whether no graph is walked.
    pub(crate) exact: bool,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    /// Of the rows in memory.
    pub(crate) memory: Option<&'a MemoryGraph>,
}

/// A row of a snapshot, and how near it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Place of its segment in the snapshot.
    pub(crate) segment: usize,
    pub(crate) near: Neighbor,
}

thread_local! {
    /// The traversal's memory: kept by each thread, so that no query allocates it.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The best `limit` rows, best first; ties in the order of segments and rows.
///
/// # Errors
/// [`Error::Cancelled`]; damage in a segment that had to be read.
pub(crate) fn nearest(snapshot: &Snapshot, ask: &Ask<'_>) -> Result<(Vec<Found>, SearchStats)> {
    let mut stats = SearchStats::default();
    let mut found: Vec<Found> = Vec::new();
    let excluded = allowed::excluded(snapshot, ask.query)?;
    let segments = snapshot.segments().iter().enumerate();
    let allowed = segments.clone().map(|(number, segment)| match segment.live_rows() {
        0 => Ok(None),
        _ => Allowed::new(segment, number, &excluded, ask.query).map(Some),
    });
    let allowed: Vec<Option<Allowed<'_>>> = allowed.collect::<Result<_>>()?;
    let memory_is_done = match ask.memory {
        Some(memory) => memory.search(snapshot, &allowed, ask, &mut stats, &mut found)?,
        None => false,
    };
    for ((number, segment), allowed) in segments.zip(&allowed) {
        if let Some(allowed) = allowed
            && (segment.is_sealed() || !memory_is_done)
        {
            let each = &mut |near| found.push(Found { segment: number, near });
            search_segment(segment, allowed, ask, &mut stats, each)?;
        }
    }
    if (ask.cancelled)() {
        return Err(Error::Cancelled);
    }
    found.sort_unstable_by(|a, b| {
        let by_place = a.segment.cmp(&b.segment).then(a.near.row.cmp(&b.near.row));
        b.near.score.total_cmp(&a.near.score).then(by_place)
    });
    found.truncate(ask.limit);
    Ok((found, stats))
}

/// Which live rows have every value of `payload_equals`.
///
/// # Errors
/// Damage in documents that had to be read.
pub(crate) fn agreeing<'s>(
    snapshot: &'s Snapshot,
    payload_equals: &Map<String, Value>,
) -> Result<impl Fn(Location) -> bool + use<'s>> {
    let query = Query { payload_equals: payload_equals.clone(), ..Query::default() };
    let segments = snapshot.segments().iter().enumerate();
    let allowed = segments.map(|(number, segment)| Allowed::new(segment, number, &[], &query));
    let allowed = allowed.collect::<Result<Vec<_>>>()?;
    Ok(move |at: Location| allowed[at.segment].row(at.row))
}

/// What was found, with keys and documents.
///
/// # Errors
/// Damage in what had to be read.
pub(crate) fn hits(snapshot: &Snapshot, found: &[Found]) -> Result<Vec<Hit>> {
    let at: Vec<_> = found.iter().map(|found| Location { segment: found.segment, row: found.near.row }).collect();
    let read = snapshot.read(&at)?.into_iter().zip(found);
    read.map(|((key, document), found)| {
        let score = found.near.score.clamp(-1.0, 1.0);
        Ok(Hit { key: key.to_owned(), score, document: Document::read(document)? })
    })
    .collect()
}

fn search_segment(
    segment: &SegmentView,
    allowed: &Allowed<'_>,
    ask: &Ask<'_>,
    stats: &mut SearchStats,
    each: &mut dyn FnMut(Neighbor),
) -> Result<()> {
    // The first touch of a sealed segment checks its bytes.
    let (vectors, dim) = (segment.vectors()?, segment.dim());
    match vectors {
        Vectors::F32(floats) => {
            let rows = DenseRows::new(floats, dim).ok_or_else(|| no_rows(dim))?;
            search_rows(&rows, (segment, allowed), ask, stats, each)
        }
        Vectors::F16(halves) => {
            let rows = HalfRows::new(halves, dim).ok_or_else(|| no_rows(dim))?;
            search_rows(&rows, (segment, allowed), ask, stats, each)
        }
    }
}

fn search_rows(
    rows: &impl Scored,
    (segment, allowed): (&SegmentView, &Allowed<'_>),
    ask: &Ask<'_>,
    stats: &mut SearchStats,
    each: &mut dyn FnMut(Neighbor),
) -> Result<()> {
    let allows = |row| allowed.row(row);
    let mut query = fromagerie_index::Query {
        vector: ask.vector,
        k: ask.limit,
        ef: ask.query.ef.unwrap_or(EF_TYPICAL).max(ask.limit),
        recall: None,
        min_score: ask.query.score_min,
        allow: if allowed.all() { None } else { Some(&allows) },
        nodes: None,
        cancelled: Some(ask.cancelled),
    };
    if !ask.exact && plan(segment.rows() as usize, allowed.count(), query.k, query.ef) == Plan::Graph {
        match graph::of(segment) {
            Ok(Some(graph)) => {
                stats.graph_segments += 1;
                match ask.query.ef {
                    Some(ef) => query.ef = ef,
                    None => query.recall = Some(ask.query.recall.unwrap_or(RECALL_DEFAULT)),
                }
                query.nodes = allowed.nodes(&graph);
                return SCRATCH.with_borrow_mut(|scratch| {
                    graph.search(rows, &query, scratch)?.iter().copied().for_each(each);
                    Ok(())
                });
            }
            Ok(None) => {}
            Err(error) => {
                if allowed::is_news(segment) {
                    let segment = segment.id();
                    tracing::warn!(segment, %error, "a graph cannot be used, its segment is scanned: `verify` names the remedy");
                }
                stats.degraded_segments += 1;
            }
        }
    }
    stats.scanned_segments += 1;
    let _in_order = allowed.few().is_none().then(|| segment.vectors_in_order());
    scan(rows, &query, allowed.few(), each)
}

/// Looks at all rows, or at those that are `listed`.
fn scan(
    rows: &impl Scored,
    query: &fromagerie_index::Query<'_>,
    listed: Option<&[u32]>,
    each: &mut dyn FnMut(Neighbor),
) -> Result<()> {
    let near = match listed {
        Some(listed) => flat::search_listed(rows, query, listed)?,
        None => flat::search(rows, query)?,
    };
    near.into_iter().for_each(each);
    Ok(())
}

/// Vectors that are no whole rows: storage has promised otherwise.
fn no_rows(dim: usize) -> Error {
    SearchError::WrongDim { expected: dim, received: 0 }.into()
}
