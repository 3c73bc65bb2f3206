//! Which rows of a segment may be returned: live ones, not excluded, whose payload agrees.
//!
//! Rows whose payload agrees are looked up in the segment's list once for each filter, and remembered beside the segment
//! (they do not change); which of them are dead or excluded is asked row by row.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use fromagerie_index::frozen::{Graph, NodeSet};
use fromagerie_storage::{Location, PayloadLister, SegmentView, Snapshot};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::payloads::{Lister, Payloads, are_equal};
use crate::error::Result;
use crate::query::{Query, Term};

/// Filters remembered of a segment: each takes at most two bits a row.
const FILTERS_KEPT: usize = 16;
/// A filter that lets fewer than one row in this many through is kept as a list of rows, others as bits.
const ROWS_PER_WORD: usize = 32;

/// Where the keys are that must not be returned, each once.
///
/// # Errors
/// Damage in a key table that had to be read.
pub(super) fn excluded(snapshot: &Snapshot, query: &Query) -> Result<Vec<Location>> {
    let asked_by_key = query.terms.iter().filter_map(|(term, _)| match term {
        Term::Key(key) => Some(key),
        _ => None,
    });
    let mut excluded = Vec::new();
    for key in query.exclude.iter().chain(asked_by_key) {
        excluded.extend(snapshot.find(key)?);
    }
    excluded.sort_unstable_by_key(|at| (at.segment, at.row));
    excluded.dedup();
    Ok(excluded)
}

/// The rows of one segment that may be returned.
pub(super) struct Allowed<'a> {
    segment: &'a SegmentView,
    /// Ascending.
    excluded: Vec<u32>,
    agreeing: Option<Arc<Agreeing>>,
}

impl<'a> Allowed<'a> {
    /// # Errors
    /// Damage in documents that had to be read.
    pub(super) fn new(segment: &'a SegmentView, number: usize, excluded: &[Location], query: &Query) -> Result<Self> {
        let excluded = excluded.iter().filter(|at| at.segment == number).map(|at| at.row).collect();
        let agreeing = match query.payload_equals.is_empty() {
            true => None,
            false => Some(Remembered::of(segment)?.agreeing(segment, &query.payload_equals)?),
        };
        Ok(Allowed { segment, excluded, agreeing })
    }

    #[inline]
    pub(super) fn row(&self, row: u32) -> bool {
        self.agreeing.as_ref().is_none_or(|agreeing| agreeing.has(row))
            && self.segment.is_live(row)
            && (self.excluded.is_empty() || self.excluded.binary_search(&row).is_err())
    }

    /// Whether all rows may be returned, so that none needs to be asked about.
    pub(super) fn all(&self) -> bool {
        self.agreeing.is_none() && self.excluded.is_empty() && self.segment.live_rows() == self.segment.rows()
    }

    /// About how many rows may be returned: exact but for what is dead or excluded.
    pub(super) fn count(&self) -> usize {
        let live = self.segment.live_rows() as usize;
        self.agreeing.as_ref().map_or(live, |agreeing| agreeing.count().min(live))
    }

    /// The only rows that need to be asked about, ascending, when they are few.
    pub(super) fn few(&self) -> Option<&[u32]> {
        match self.agreeing.as_deref().map(|agreeing| &agreeing.rows) {
            Some(AgreeingRows::Few(rows)) => Some(rows),
            _ => None,
        }
    }

    /// The nodes of the segment's graph whose payload agrees, once the filter has been asked before.
    pub(super) fn nodes(&self, graph: &Graph<'_>) -> Option<&NodeSet> {
        let agreeing = self.agreeing.as_deref()?;
        let has_walked = agreeing.walks.fetch_add(1, Ordering::Relaxed) > 0;
        has_walked.then(|| agreeing.nodes.get_or_init(|| graph.nodes_of(|row| agreeing.has(row))))
    }
}

/// Rows of a segment whose payload agrees with one filter, dead ones too.
struct Agreeing {
    rows: AgreeingRows,
    /// The same in the order of the segment's graph, from the second walk on: a filter that is asked once is not worth it.
    nodes: OnceLock<NodeSet>,
    walks: AtomicU32,
}

enum AgreeingRows {
    /// Ascending.
    Few(Box<[u32]>),
    Many {
        words: Box<[u64]>,
        count: usize,
    },
}

impl Agreeing {
    /// `rows`: ascending, below `all`.
    fn of(rows: &[u32], all: u32) -> Self {
        Self { rows: AgreeingRows::of(rows, all), nodes: OnceLock::new(), walks: AtomicU32::new(0) }
    }

    fn count(&self) -> usize {
        match &self.rows {
            AgreeingRows::Few(rows) => rows.len(),
            AgreeingRows::Many { count, .. } => *count,
        }
    }

    #[inline]
    fn has(&self, row: u32) -> bool {
        match &self.rows {
            AgreeingRows::Few(rows) => rows.binary_search(&row).is_ok(),
            AgreeingRows::Many { words, .. } => {
                words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
            }
        }
    }
}

impl AgreeingRows {
    /// `rows`: ascending, below `all`.
    fn of(rows: &[u32], all: u32) -> Self {
        if rows.len() * ROWS_PER_WORD < all as usize {
            return Self::Few(rows.into());
        }
        let mut words = vec![0_u64; (all as usize).div_ceil(64)].into_boxed_slice();
        rows.iter().for_each(|row| words[*row as usize / 64] |= 1 << (row % 64));
        Self::Many { words, count: rows.len() }
    }
}

/// What is remembered beside a segment.
#[derive(Default)]
struct Remembered {
    /// The list of payloads of a segment that was sealed without one, or is in memory.
    list: OnceLock<Vec<u8>>,
    /// By the filter's text, the last one asked for last.
    filters: Mutex<Vec<(String, Arc<Agreeing>)>>,
    has_told: AtomicBool,
}

/// Whether nothing was told of the segment yet; now it is.
pub(super) fn is_news(segment: &SegmentView) -> bool {
    Remembered::of(segment).is_ok_and(|remembered| !remembered.has_told.swap(true, Ordering::Relaxed))
}

impl Remembered {
    fn of(segment: &SegmentView) -> Result<&Remembered> {
        Ok(segment.derived().expect("the engine derives nothing else from a segment"))
    }

    fn agreeing(&self, segment: &SegmentView, filter: &Map<String, Value>) -> Result<Arc<Agreeing>> {
        let text = serde_json::json!(filter).to_string();
        {
            let mut filters = self.filters.lock();
            if let Some(at) = filters.iter().position(|(known, _)| *known == text) {
                filters[at..].rotate_left(1);
                return Ok(filters[filters.len() - 1].1.clone());
            }
        }
        let rows = self.look_up(segment, filter)?;
        let agreeing = Arc::new(Agreeing::of(&rows, segment.rows()));
        let mut filters = self.filters.lock();
        if filters.len() == FILTERS_KEPT {
            filters.remove(0);
        }
        filters.push((text, agreeing.clone()));
        Ok(agreeing)
    }

    /// Rows whose payload has every value of `filter`, ascending.
    fn look_up(&self, segment: &SegmentView, filter: &Map<String, Value>) -> Result<Vec<u32>> {
        let bytes = self.list(segment)?;
        let Some(list) = Payloads::parse(&bytes, segment.rows()) else { return read_all(segment, filter) };
        let mut each: Vec<_> = filter.iter().map(|(name, value)| list.rows(name, value)).collect();
        each.sort_by_key(ExactSizeIterator::len);
        let mut each = each.into_iter();
        let mut rows: Vec<u32> = each.next().into_iter().flatten().filter(|row| *row < segment.rows()).collect();
        for others in each {
            let mut others = others.peekable();
            rows.retain(|row| {
                while others.next_if(|other| other < row).is_some() {}
                others.peek() == Some(row)
            });
        }
        Ok(rows)
    }

    /// The segment's own list, or one that is made of its documents now.
    fn list<'l>(&'l self, segment: &'l SegmentView) -> Result<Cow<'l, [u8]>> {
        match segment.payloads() {
            Ok(Some(list)) => return Ok(list.into()),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(segment = segment.id(), %error, "a damaged list: reading the documents instead");
            }
        }
        if let Some(list) = self.list.get() {
            return Ok(list.as_slice().into());
        }
        let mut lister = Box::<Lister>::default();
        for row in 0..segment.rows() {
            lister.add(&segment.document(row)?.payload);
        }
        let list = lister.finish().unwrap_or_default();
        Ok(self.list.get_or_init(|| list).as_slice().into())
    }
}

/// The same without a list: every document is read.
fn read_all(segment: &SegmentView, filter: &Map<String, Value>) -> Result<Vec<u32>> {
    let mut rows = Vec::new();
    for row in 0..segment.rows() {
        let document = crate::item::Document::read(segment.document(row)?)?;
        let has = |(name, value)| document.payload.get(name).is_some_and(|stored| are_equal(stored, value));
        if filter.iter().all(has) {
            rows.push(row);
        }
    }
    Ok(rows)
}
