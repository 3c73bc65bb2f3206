//! Files and directories in memory, and the changes that are made to them one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

/// A file or directory, whatever its names.
pub(super) type NodeId = u64;

/// The directory that all paths begin in.
pub(super) const ROOT: NodeId = 0;

/// A name in a directory.
pub(super) type Place = (NodeId, String);

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Arc<Vec<u8>>),
    Dir(BTreeMap<String, NodeId>),
}

/// One elementary change, as a file system's journal would have it.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { file: NodeId, offset: u64, bytes: Arc<[u8]> },
    Resize { file: NodeId, bytes: u64 },
    Link { place: Place, node: NodeId },
    Unlink { place: Place, node: NodeId },
    Rename { from: Place, to: Place, node: NodeId },
}

impl Change {
    /// The file whose content changes; none when a name does.
    pub(super) fn content_of(&self) -> Option<NodeId> {
        match self {
            Change::Write { file, .. } | Change::Resize { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The names that change.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        let (one, other) = match self {
            Change::Link { place, .. } | Change::Unlink { place, .. } => (Some(place), None),
            Change::Rename { from, to, .. } => (Some(from), Some(to)),
            Change::Write { .. } | Change::Resize { .. } => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// Whether this change of names cannot reach the disk before `earlier` did: they share a name, or this one moves or
    /// removes the directory in which the other took place.
    pub(super) fn follows(&self, earlier: &Change) -> bool {
        let moved = match self {
            Change::Unlink { node, .. } | Change::Rename { node, .. } => Some(*node),
            _ => None,
        };
        earlier.places().any(|place| moved == Some(place.0) || self.places().any(|mine| mine == place))
    }
}

/// A tree of directories.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: BTreeMap::from([(ROOT, Node::Dir(BTreeMap::new()))]) }
    }
}

impl Tree {
    /// Makes a node that has no name yet, unless it is there.
    pub(super) fn adopt(&mut self, id: NodeId, node: Node) {
        self.nodes.entry(id).or_insert(node);
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { file, offset, bytes } => {
                let content = self.content_mut(*file);
                write(content, *offset as usize, bytes);
            }
            Change::Resize { file, bytes } => self.content_mut(*file).resize(*bytes as usize, 0),
            Change::Link { place, node } => drop(self.names_mut(place.0).insert(place.1.clone(), *node)),
            Change::Unlink { place, .. } => drop(self.names_mut(place.0).remove(&place.1)),
            Change::Rename { from, to, node } => {
                self.names_mut(from.0).remove(&from.1);
                self.names_mut(to.0).insert(to.1.clone(), *node);
            }
        }
    }

    /// What a path names.
    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
                at = *self.names(at)?.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(at)
    }

    /// The directory and the name in it that a path is made of.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.names(dir)?;
        Ok((dir, name.to_owned()))
    }

    pub(super) fn names(&self, dir: NodeId) -> io::Result<&BTreeMap<String, NodeId>> {
        match self.nodes.get(&dir) {
            Some(Node::Dir(names)) => Ok(names),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn content(&self, file: NodeId) -> io::Result<&Arc<Vec<u8>>> {
        match self.nodes.get(&file) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn set_content(&mut self, file: NodeId, content: Vec<u8>) {
        self.nodes.insert(file, Node::File(Arc::new(content)));
    }

    pub(super) fn is_dir(&self, node: NodeId) -> bool {
        self.names(node).is_ok()
    }

    /// Bytes of all files that have a name.
    pub(super) fn bytes(&self) -> u64 {
        self.reachable().iter().filter_map(|&id| self.content(id).ok()).map(|content| content.len() as u64).sum()
    }

    /// Forgets what has no name, as a file system does after a crash.
    pub(super) fn forget_orphans(&mut self) {
        let reachable = self.reachable();
        self.nodes.retain(|id, _| reachable.contains(id));
    }

    /// Every file and directory with its path, in order.
    pub(super) fn walk(&self, dir: NodeId, path: &str, each: &mut dyn FnMut(&str, Option<&[u8]>)) {
        for (name, &id) in self.names(dir).into_iter().flatten() {
            let path = format!("{path}/{name}");
            each(&path, self.content(id).ok().map(|content| content.as_slice()));
            self.walk(id, &path, each);
        }
    }

    fn reachable(&self) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::from([ROOT]);
        let mut dirs = vec![ROOT];
        while let Some(dir) = dirs.pop() {
            for &id in self.names(dir).into_iter().flatten().map(|(_, id)| id) {
                if found.insert(id) {
                    dirs.push(id);
                }
            }
        }
        found
    }

    fn content_mut(&mut self, file: NodeId) -> &mut Vec<u8> {
        match self.nodes.get_mut(&file) {
            Some(Node::File(content)) => Arc::make_mut(content),
            _ => unreachable!("only files are written, and nodes are adopted when they are made"),
        }
    }

    fn names_mut(&mut self, dir: NodeId) -> &mut BTreeMap<String, NodeId> {
        match self.nodes.get_mut(&dir) {
            Some(Node::Dir(names)) => names,
            _ => unreachable!("names are only changed in directories, and nodes are adopted when they are made"),
        }
    }
}

/// Writes at `offset`, with zeros in between when that lies beyond the end.
pub(super) fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}
