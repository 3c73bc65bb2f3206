//! What a caller adds to a segment that is being made: parts that storage keeps and checks, and does not understand.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes the caller's parts of a segment that is being sealed.
pub trait SegmentBuilder: Send + Sync {
    /// Graph bytes over `vectors` (as single floats, however they are kept), `[rows, dim]`, row `n` of the segment being row `n` here; none for no graph. A panic
    /// counts as none: the segment is then scanned exactly.
    fn build(&self, vectors: &[f32], dim: usize) -> Option<Vec<u8>>;

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
        self.builder.is_some_and(|builder| builder.wants(rows as usize))
    }

    /// What the builder makes of a segment's vectors; none also when it panics, since a segment without a graph is whole.
    pub(super) fn graph(&self, vectors: &[f32], dim: usize) -> Option<Vec<u8>> {
        self.guard("the segment builder panicked: this segment has no graph", || self.builder?.build(vectors, dim))
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
