//! What is seen and what is safe: the page cache, the disk, and the changes that are in the one and not yet in the other.
//!
//! A file's content becomes safe when the file is synced, a name when its directory is: the least that POSIX promises.
//! ext4, xfs and btrfs often do more, and nothing here relies on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::tree::{Change, Node, NodeId, ROOT, Tree};

/// A catalog's path, a tree of it and a key in that.
pub(super) type RecordKey = (PathBuf, &'static str, Vec<u8>);

/// A record of a catalog with its value; none when it was removed.
#[derive(Debug, Clone)]
pub(super) struct CatalogChange {
    pub(super) key: RecordKey,
    pub(super) value: Option<Vec<u8>>,
}

/// Records of all catalogs.
pub(super) type Records = BTreeMap<RecordKey, Vec<u8>>;

/// Something that happened on a disk, in the order in which it did.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A node was made; a name is given to it by a change of its own.
    MakeFile(NodeId),
    MakeDir(NodeId),
    Change(Change),
    SyncFile(NodeId),
    /// A sync failed: the pages are clean all the same, and will not be written any more.
    SyncFileFailed(NodeId),
    SyncDir(NodeId),
    /// A change of the catalog, which is safe at once.
    Catalog(CatalogChange),
    /// The user of the disk was told that all before this is done.
    Mark,
}

/// The state of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Platter {
    /// What programs see.
    pub(super) live: Tree,
    /// What is there when the power goes now, and nothing unsynced was written by chance.
    pub(super) safe: Tree,
    /// What is in `live` and not in `safe`, in order.
    pub(super) pending: Vec<Change>,
    /// The catalog at the start, and every change since.
    pub(super) records: Arc<Records>,
    pub(super) catalog_changes: Vec<CatalogChange>,
    next: NodeId,
}

impl Platter {
    /// A disk on which everything in `tree` is safe.
    pub(super) fn of(tree: Tree, records: Records, next: NodeId) -> Platter {
        Platter {
            live: tree.clone(),
            safe: tree,
            pending: Vec::new(),
            records: Arc::new(records),
            catalog_changes: Vec::new(),
            next,
        }
    }

    /// The id of the next node that is made.
    pub(super) fn next(&self) -> NodeId {
        self.next.max(ROOT + 1)
    }

    pub(super) fn step(&mut self, event: &Event) {
        match event {
            Event::MakeFile(id) => self.make(*id, &Node::File(Arc::default())),
            Event::MakeDir(id) => self.make(*id, &Node::Dir(BTreeMap::new())),
            Event::Change(change) => {
                self.live.apply(change);
                self.pending.push(change.clone());
            }
            Event::SyncFile(file) => {
                let is_his = |change: &Change| change.content_of() == Some(*file);
                self.settle(|change, _| is_his(change));
            }
            Event::SyncFileFailed(file) => {
                self.pending.retain(|change| !matches!(change, Change::Write { file: written, .. } if written == file));
            }
            Event::SyncDir(dir) => {
                // With a change goes what must reach the disk before it.
                let mut wanted: Vec<Change> = Vec::new();
                let mut chosen = vec![false; self.pending.len()];
                for (index, change) in self.pending.iter().enumerate().rev() {
                    let in_dir = change.places().any(|place| place.0 == *dir);
                    if in_dir || wanted.iter().any(|later| later.follows(change)) {
                        chosen[index] = true;
                        wanted.push(change.clone());
                    }
                }
                self.settle(|_, index| chosen[index]);
            }
            Event::Catalog(change) => self.catalog_changes.push(change.clone()),
            Event::Mark => {}
        }
    }

    /// The catalog after the first `changes` of its changes.
    pub(super) fn catalog_after(&self, changes: usize) -> Records {
        let mut records = Records::clone(&self.records);
        for change in &self.catalog_changes[..changes] {
            match &change.value {
                Some(value) => drop(records.insert(change.key.clone(), value.clone())),
                None => drop(records.remove(&change.key)),
            }
        }
        records
    }

    fn make(&mut self, id: NodeId, node: &Node) {
        self.live.adopt(id, node.clone());
        self.safe.adopt(id, node.clone());
        self.next = id + 1;
    }

    /// Makes pending changes safe.
    fn settle(&mut self, is_chosen: impl Fn(&Change, usize) -> bool) {
        let mut index = 0;
        let safe = &mut self.safe;
        self.pending.retain(|change| {
            let chosen = is_chosen(change, index);
            index += 1;
            if chosen {
                safe.apply(change);
            }
            !chosen
        });
    }
}
