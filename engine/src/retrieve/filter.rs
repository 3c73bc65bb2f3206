//! Which rows of a segment may be returned: live ones, not excluded, whose payload agrees.

use std::cell::RefCell;

use fromagerie_storage::{SegmentView, Snapshot};

use crate::error::{Error, Result};
use crate::item::Document;
use crate::query::{Query, Term};

/// The rows of one segment that may be returned.
pub(super) struct Allowed<'a> {
    segment: &'a SegmentView,
    query: &'a Query,
    /// Sorted.
    excluded: Vec<u32>,
    /// The index asks yes or no; what went wrong while answering waits here.
    error: RefCell<Option<Error>>,
}

impl<'a> Allowed<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, number: usize, query: &'a Query) -> Result<Allowed<'a>> {
        let asked_by_key = query.terms.iter().filter_map(|(term, _)| match term {
            Term::Key(key) => Some(key),
            _ => None,
        });
        let mut excluded = Vec::new();
        for key in query.exclude.iter().chain(asked_by_key) {
            if let Some(location) = snapshot.find(key)?
                && location.segment == number
            {
                excluded.push(location.row);
            }
        }
        excluded.sort_unstable();
        Ok(Allowed { segment: &snapshot.segments()[number], query, excluded, error: RefCell::new(None) })
    }

    pub(super) fn row(&self, row: u32) -> bool {
        self.segment.is_live(row) && self.excluded.binary_search(&row).is_err() && self.payload_agrees(row)
    }

    /// Whether all rows may be returned, so that none needs to be asked about.
    pub(super) fn all(&self) -> bool {
        let all_live = self.segment.live_rows() == self.segment.rows();
        all_live && self.excluded.is_empty() && self.query.payload_equals.is_empty()
    }

    /// # Errors
    /// What went wrong while rows were asked for.
    pub(super) fn finish(self) -> Result<()> {
        self.error.into_inner().map_or(Ok(()), Err)
    }

    fn payload_agrees(&self, row: u32) -> bool {
        if self.query.payload_equals.is_empty() {
            return true;
        }
        let document = self.segment.document(row).map_err(Error::from).and_then(Document::read);
        match document {
            Ok(document) => {
                self.query.payload_equals.iter().all(|(name, value)| document.payload.get(name) == Some(value))
            }
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                false
            }
        }
    }
}
