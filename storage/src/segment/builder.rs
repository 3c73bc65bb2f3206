//! What a caller adds to a segment that is being made: parts that storage keeps and checks, and does not understand.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::StorageError;

use super::SegmentView;

/// What a builder is told of the segment that it works for, and tells of its work.
pub struct Task<'a> {
    share: f32,
    anew: bool,
    goes_on: Option<&'a mut (dyn FnMut(f32) -> bool + Send)>,
}

impl<'a> Task<'a> {
    /// Of a seal, a large batch or a repair: somebody waits for it.
    pub fn waited_for() -> Task<'a> {
        Task { share: 0.0, anew: false, goes_on: None }
    }

    /// Of a merge, which `goes_on` is told what share is done of, and says whether it is still wanted.
    pub fn in_background(goes_on: &'a mut (dyn FnMut(f32) -> bool + Send)) -> Task<'a> {
        Task { share: 0.0, anew: false, goes_on: Some(goes_on) }
    }

    /// The same, and whether the builder is to make its parts without a look at those of the sources.
    pub(crate) fn anew(self, anew: bool) -> Task<'a> {
        Task { anew, ..self }
    }

    /// Whether somebody waits for it; else all who wait come first, searches too.
    pub fn is_waited_for(&self) -> bool {
        self.goes_on.is_none()
    }

    /// Tells what share is done, from 0 to 1. When it is false, what is built is not used any more.
    pub fn goes_on(&mut self, share: f32) -> bool {
        self.share = share;
        self.goes_on.as_mut().is_none_or(|goes_on| goes_on(share))
    }

    /// Whether it is still wanted, with no more done than was told.
    pub fn is_wanted(&mut self) -> bool {
        self.goes_on(self.share)
    }

    /// # Errors
    /// [`StorageError::Stopped`] when it is not wanted any more.
    pub(crate) fn check(&mut self, collection: &str) -> Result<(), StorageError> {
        if self.is_wanted() { Ok(()) } else { Err(StorageError::Stopped { name: collection.to_owned() }) }
    }
}

impl fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_waited_for", &self.is_waited_for()).finish()
    }
}

/// A segment whose live rows go into the one that is being made.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    view: &'s SegmentView,
    /// The row that its first live row becomes; the others follow.
    first: u32,
}

impl<'s> Source<'s> {
    /// Each with the place of its rows behind those of the ones before.
    pub(super) fn all(views: &'s [SegmentView]) -> Vec<Source<'s>> {
        let place = |first: &mut u32, view: &'s SegmentView| {
            let source = Source { view, first: *first };
            *first += view.live_rows();
            Some(source)
        };
        views.iter().scan(0, place).collect()
    }

    /// Rows that go into the new segment.
    #[must_use]
    pub fn live_rows(&self) -> u32 {
        self.view.live_rows()
    }

    /// Its graph; none also when that is damaged.
    #[must_use]
    pub fn graph(&self) -> Option<&'s [u8]> {
        self.view.graph().ok().flatten()
    }

    /// For each of its rows the row that it becomes; `u32::MAX` for one that is dead.
    #[must_use]
    pub fn rows(&self) -> Vec<u32> {
        let mut rows = vec![u32::MAX; self.view.rows() as usize];
        self.view.live().zip(self.first..).for_each(|(row, now)| rows[row as usize] = now);
        rows
    }
}

/// Makes the caller's parts of a segment that is being sealed.
pub trait SegmentBuilder: Send + Sync {
    /// Graph bytes over `vectors` (as single floats, however they are kept), `[rows, dim]`, row `n` of the segment being
    /// row `n` here; none for no graph. `sources` are what the rows come from, in their order, or nothing when all is to be
    /// made anew: a graph over many of the rows saves work. A panic counts as none: the segment is then scanned exactly. A
    /// long build tells `task` how far it is, and ends when it does not go on.
    fn build(&self, vectors: &[f32], dim: usize, sources: &[Source<'_>], task: &mut Task<'_>) -> Option<Vec<u8>>;

    /// Whether segments of so many rows may get a graph at all: where not, nothing is prepared for it.
    fn wants(&self, _rows: usize) -> bool {
        true
    }

    /// Who lists the payloads of the segment's rows; none for no list.
    fn payloads(&self) -> Option<Box<dyn PayloadLister>> {
        None
    }
}

/// Makes a segment's list of payloads, of one row after the other. A panic counts as no list.
pub trait PayloadLister {
    /// The payload of the next row, as it is stored.
    fn add(&mut self, payload: &str);

    /// The list's bytes; none for no list.
    fn finish(self: Box<Self>) -> Option<Vec<u8>>;
}

/// The builder of a collection, whose panics end nothing.
#[derive(Clone, Copy)]
pub(crate) struct Guarded<'a> {
    pub(crate) builder: Option<&'a dyn SegmentBuilder>,
    /// The collection's name.
    pub(crate) collection: &'a str,
}

impl Guarded<'_> {
    pub(super) fn wants_graph(&self, rows: u32) -> bool {
        self.guard("the segment builder panicked: this segment has no graph", || {
            Some(self.builder?.wants(rows as usize))
        })
        .unwrap_or_default()
    }

    /// What the builder makes of a segment's vectors; none also when it panics, since a segment without a graph is whole.
    ///
    /// # Errors
    /// [`StorageError::Stopped`]: nobody wants it any more.
    pub(super) fn graph(
        &self,
        vectors: &[f32],
        dim: usize,
        sources: &[SegmentView],
        task: &mut Task<'_>,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let panicked = "the segment builder panicked: this segment has no graph";
        let sources = if task.anew { Vec::new() } else { Source::all(sources) };
        let graph = self.guard(panicked, || self.builder?.build(vectors, dim, &sources, task));
        task.check(self.collection).map(|()| graph)
    }

    pub(super) fn lister(&self) -> Lister<'_> {
        Lister { lister: self.guard(LIST_PANICKED, || self.builder?.payloads()), guarded: self }
    }

    fn guard<T>(&self, problem: &str, work: impl FnOnce() -> Option<T>) -> Option<T> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            tracing::error!(collection = self.collection, "{problem}");
            None
        })
    }
}

const LIST_PANICKED: &str = "the lister of payloads panicked: this segment has no list";

/// A [`PayloadLister`], if there is one and as long as it does not panic.
pub(super) struct Lister<'a> {
    lister: Option<Box<dyn PayloadLister>>,
    guarded: &'a Guarded<'a>,
}

impl Lister<'_> {
    pub(super) fn add(&mut self, payload: &str) {
        if let Some(mut lister) = self.lister.take() {
            self.lister = self.guarded.guard(LIST_PANICKED, move || {
                lister.add(payload);
                Some(lister)
            });
        }
    }

    pub(super) fn finish(self) -> Option<Vec<u8>> {
        let lister = self.lister?;
        self.guarded.guard(LIST_PANICKED, || lister.finish())
    }
}
