//! What names mean: collections by name, those that did not open too, and aliases.

use std::collections::BTreeMap;

use crate::collection::Collection;

use super::DamagedCollection;

/// A collection, or why it is not open.
pub(super) type Entry = Result<Collection, DamagedCollection>;

#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) collections: BTreeMap<String, Entry>,
    /// Alias to collection id.
    pub(super) aliases: BTreeMap<String, u64>,
}

impl Registry {
    /// What a name or an alias means.
    pub(super) fn find(&self, name_or_alias: &str) -> Option<&Entry> {
        self.collections.get(name_or_alias).or_else(|| self.entry(*self.aliases.get(name_or_alias)?))
    }

    /// The collection of an id.
    pub(super) fn entry(&self, id: u64) -> Option<&Entry> {
        self.collections.values().find(|entry| id_of(entry) == id)
    }

    /// Gives a collection its name; one whose name is taken gets its id with it.
    pub(super) fn add(&mut self, entry: Entry) {
        let mut name = match &entry {
            Ok(collection) => collection.name().to_owned(),
            Err(damaged) => damaged.name.clone(),
        };
        if self.collections.contains_key(&name) {
            name = format!("{name} ({:016x})", id_of(&entry));
        }
        self.collections.insert(name, entry);
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.collections.retain(|_, entry| id_of(entry) != id);
    }

    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.collections.contains_key(name) || self.aliases.contains_key(name)
    }

    /// The aliases of a collection.
    pub(super) fn aliases_of(&self, id: u64) -> Vec<String> {
        self.aliases.iter().filter(|(_, target)| **target == id).map(|(alias, _)| alias.clone()).collect()
    }
}

pub(super) fn id_of(entry: &Entry) -> u64 {
    match entry {
        Ok(collection) => collection.id(),
        Err(damaged) => damaged.id,
    }
}
