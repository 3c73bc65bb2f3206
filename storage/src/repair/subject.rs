//! Whose files are looked at: a collection, open or not.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use crate::backend::Backend;
use crate::catalog::CollectionRecord;
use crate::collection::Inner;
use crate::collection::create::dir_of;
use crate::store::root::Root;

/// The collection to look at.
pub(crate) struct Subject<'a> {
    pub(crate) backend: &'a dyn Backend,
    pub(crate) dir: PathBuf,
    pub(crate) id: u64,
    /// What the catalog knows of it.
    pub(crate) record: Option<CollectionRecord>,
}

impl<'a> Subject<'a> {
    /// The collection `id` of a database, as the catalog knows it.
    pub(crate) fn new(root: &'a Root, id: u64, record: Option<CollectionRecord>) -> Subject<'a> {
        Subject { backend: &*root.backend, dir: dir_of(&root.collections_dir(), id), id, record }
    }

    /// A collection that is open, of which no generation may come or go meanwhile.
    pub(crate) fn open(inner: &'a Inner) -> Subject<'a> {
        let generation = inner.generation.load(Ordering::Relaxed);
        Subject::new(&inner.root, inner.id, Some(inner.record(generation)))
    }
}
