//! The rows in memory, when they are too many to scan: a graph that grows behind the writes and is searched meanwhile.
//!
//! A row in memory has a number that grows from row to row. The graph holds all rows below one number, and what lies
//! above is scanned; so a search sees every row of its snapshot, however far the graph has come. Rows that were
//! deleted, replaced or sealed since stay in the graph and are passed over; when they are the most, it is begun anew.
//!
//! It grows in the thread of things that nobody waits for, when searches ask for it: `hnsw_rs` takes about a
//! millisecond a row, so a collection that nobody searches, or that is sealed soon, has none.

use fromagerie_index::hnsw::{Growing, HnswParams};
use fromagerie_index::{DenseRows, HalfRows, Neighbor, Plan, plan};
use fromagerie_storage::{SegmentView, Snapshot, Vectors};
use parking_lot::RwLock;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::allowed::Allowed;
use super::{Ask, EF_TYPICAL, Found, SearchStats, no_rows, scan};
use crate::error::Result;

/// Rows that join between two looks at what has changed.
const STEP_ROWS: usize = 256;
/// Rows above the graph that are rather scanned than waited for.
const BEHIND_MAX: usize = 512;

/// The graph over one collection's rows in memory.
pub(crate) struct MemoryGraph {
    /// Rows in memory below which they are scanned; 0: always.
    rows_min: usize,
    grown: RwLock<Option<Grown>>,
    is_growing: AtomicBool,
}

#[derive(Clone)]
struct Grown {
    /// Rows are under their numbers, counted from `first`.
    graph: Arc<Growing>,
    first: u64,
    /// Rows below this number are in it, but for those that were dead at `sequence`.
    covered: u64,
    /// Of the newest snapshot that was looked at: an older one may have had rows that the graph was not given.
    sequence: u64,
}

/// What one step of growing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is more to do.
    More,
    /// The graph has all rows, or is not wanted.
    Done,
}

impl MemoryGraph {
    pub(crate) fn new(rows_min: usize) -> Self {
        Self { rows_min, grown: RwLock::default(), is_growing: AtomicBool::new(false) }
    }

    /// Whether the graph should grow now; who gets `true` sees to it and says when it is done.
    pub(crate) fn wants_to_grow(&self, snapshot: &Snapshot) -> bool {
        let rows = memory_rows(snapshot);
        if self.rows_min == 0 {
            return false;
        }
        if rows < self.rows_min {
            // Its heap is to go.
            return self.grown.read().is_some() && !self.is_growing.swap(true, Ordering::AcqRel);
        }
        let is_behind = self.grown.read().as_ref().is_none_or(|grown| {
            let inside = rows_below(snapshot, grown.covered);
            rows - inside > BEHIND_MAX || inside * 2 < grown.graph.len()
        });
        is_behind && !self.is_growing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn rests(&self) {
        self.is_growing.store(false, Ordering::Release);
    }

    /// Adds some rows of `snapshot`, which is newer than all before.
    pub(crate) fn grow(&self, snapshot: &Snapshot) -> Step {
        if memory_rows(snapshot) < self.rows_min {
            *self.grown.write() = None;
            return Step::Done;
        }
        let now = self.grown.read().clone();
        let useful = now.filter(|grown| rows_below(snapshot, grown.covered) * 2 >= grown.graph.len());
        let Some(mut grown) = useful.or_else(|| Grown::empty(snapshot)) else { return Step::Done };
        let mut left = STEP_ROWS;
        for segment in memory_segments(snapshot) {
            let Ok(vectors) = segment.vectors() else { continue };
            for row in segment.memory_row_from(grown.covered)..segment.rows() {
                let Some(number) = segment.memory_number(row) else { break };
                if left == 0 {
                    *self.grown.write() = Some(Grown { sequence: snapshot.sequence(), ..grown });
                    return Step::More;
                }
                left -= 1;
                let Ok(label) = u32::try_from(number - grown.first) else { return self.begin_anew() };
                let start = row as usize * segment.dim();
                let vector = &vectors.slice(start..start + segment.dim()).to_f32();
                // Each number comes once; a row that the graph refuses would be lost to searches.
                if segment.is_live(row) && grown.graph.insert(label, vector).is_err() {
                    return self.begin_anew();
                }
                grown.covered = number + 1;
            }
        }
        *self.grown.write() = Some(Grown { sequence: snapshot.sequence(), ..grown });
        Step::Done
    }

    fn begin_anew(&self) -> Step {
        *self.grown.write() = None;
        Step::Done
    }

    /// The best rows in memory, unless they are rather scanned: the graph is not there, knows other rows, or is not worth
    /// it. `allowed`: of each segment of the snapshot.
    pub(super) fn search(
        &self,
        snapshot: &Snapshot,
        allowed: &[Option<Allowed<'_>>],
        ask: &Ask<'_>,
        stats: &mut SearchStats,
        found: &mut Vec<Found>,
    ) -> Result<bool> {
        let rows = if self.rows_min == 0 { 0 } else { memory_rows(snapshot) };
        if ask.exact || self.rows_min == 0 || rows < self.rows_min {
            return Ok(false);
        }
        let Some(grown) = self.grown.read().clone() else { return Ok(false) };
        let inside = rows_below(snapshot, grown.covered);
        let known = snapshot.sequence() >= grown.sequence && inside * 2 >= grown.graph.len();
        let ef = ask.query.ef.unwrap_or(EF_TYPICAL * 2).max(ask.limit);
        let may = |number: usize| allowed[number].as_ref().map_or(0, Allowed::count);
        let memory = || (0..).zip(snapshot.segments()).filter(|(_, segment)| !segment.is_sealed());
        let count = memory().map(|(number, _)| may(number)).sum::<usize>();
        if !known || plan(rows, count.min(inside), ask.limit, ef) == Plan::Scan {
            return Ok(false);
        }
        let places = Places::of(snapshot);
        let allows = |label: u32| {
            let place = places.place(snapshot, grown.first + u64::from(label));
            place.is_some_and(|(number, row)| allowed[number].as_ref().is_some_and(|allowed| allowed.row(row)))
        };
        let query = fromagerie_index::Query {
            vector: ask.vector,
            k: ask.limit,
            ef,
            recall: None,
            min_score: ask.query.score_min,
            allow: Some(&allows),
            nodes: None,
            cancelled: Some(ask.cancelled),
        };
        for near in grown.graph.search(&query)? {
            if let Some((segment, row)) = places.place(snapshot, grown.first + u64::from(near.row)) {
                found.push(Found { segment, near: Neighbor { row, ..near } });
            }
        }
        stats.graph_segments += 1;
        for (number, segment) in memory() {
            let from = segment.memory_row_from(grown.covered);
            let Some(allowed) = allowed[number].as_ref().filter(|_| from < segment.rows()) else { continue };
            let (vectors, dim) = (segment.vectors()?, segment.dim());
            let tail = vectors.slice(from as usize * dim..vectors.len());
            let allows = |row| allowed.row(row + from);
            let query = fromagerie_index::Query { allow: Some(&allows), ..query };
            let each = &mut |near: Neighbor| {
                found.push(Found { segment: number, near: Neighbor { row: near.row + from, ..near } });
            };
            match tail {
                Vectors::F32(floats) => {
                    scan(&DenseRows::new(floats, dim).ok_or_else(|| no_rows(dim))?, &query, None, each)?;
                }
                Vectors::F16(halves) => {
                    scan(&HalfRows::new(halves, dim).ok_or_else(|| no_rows(dim))?, &query, None, each)?;
                }
            }
        }
        Ok(true)
    }
}

impl Grown {
    fn empty(snapshot: &Snapshot) -> Option<Self> {
        let segment = memory_segments(snapshot).find(|segment| segment.rows() > 0)?;
        let first = segment.memory_number(0)?;
        let params = HnswParams { parallel: false, ..HnswParams::default() };
        let graph = Growing::new(segment.dim(), params, memory_rows(snapshot) * 2).ok()?;
        Some(Self { graph: Arc::new(graph), first, covered: first, sequence: snapshot.sequence() })
    }
}

/// Segments in memory with the number of their first row, ascending.
struct Places(Vec<(u64, usize)>);

impl Places {
    fn of(snapshot: &Snapshot) -> Self {
        let numbered = (0..).zip(snapshot.segments());
        Self(numbered.filter_map(|(place, segment)| Some((segment.memory_number(0)?, place))).collect())
    }

    /// Where the row of a number is; none when it is not in the snapshot.
    fn place(&self, snapshot: &Snapshot, number: u64) -> Option<(usize, u32)> {
        let at = self.0.partition_point(|(first, _)| *first <= number).checked_sub(1)?;
        let place = self.0[at].1;
        let segment = &snapshot.segments()[place];
        let row = segment.memory_row_from(number);
        (segment.memory_number(row)? == number).then_some((place, row))
    }
}

fn memory_segments(snapshot: &Snapshot) -> impl Iterator<Item = &SegmentView> {
    snapshot.segments().iter().filter(|segment| !segment.is_sealed())
}

fn memory_rows(snapshot: &Snapshot) -> usize {
    memory_segments(snapshot).map(|segment| segment.rows() as usize).sum()
}

/// Rows in memory whose number is below `number`.
fn rows_below(snapshot: &Snapshot, number: u64) -> usize {
    memory_segments(snapshot).map(|segment| segment.memory_row_from(number) as usize).sum()
}
