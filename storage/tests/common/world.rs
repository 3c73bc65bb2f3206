//! What a database holds, as maps: the reference that a store is compared with.

use std::collections::BTreeMap;

use fromagerie_storage::Store;

use super::contents;

/// Collections with their items, and aliases with the names of their collections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    pub collections: BTreeMap<String, BTreeMap<String, u32>>,
    pub aliases: BTreeMap<String, String>,
}

impl World {
    /// What the store holds; all of it is read.
    pub fn of(store: &Store) -> World {
        let read = |name: &str| contents(&store.collection(name).unwrap().snapshot());
        World {
            collections: store.collections().into_iter().map(|info| (info.name.clone(), read(&info.name))).collect(),
            aliases: store.aliases().into_iter().collect(),
        }
    }
}

/// Whether damage is only the word of a catalog that is older than a drop. What is in use is compared besides.
pub fn is_of_old(what: &str) -> bool {
    what.ends_with("the collection's directory is missing")
}

/// Collections that did not open.
pub fn really_damaged(store: &Store) -> Vec<String> {
    let damaged = store.damaged().into_iter().map(|damaged| format!("{}: {}", damaged.name, damaged.error));
    damaged.filter(|what| !is_of_old(what)).collect()
}
