//! A tree of the catalog as a table of `redb`'s: keys and values are bytes.
//!
//! A commit is durable in two phases: what it brings, then the word that it counts. So the newest one is whole or damaged, and
//! is never quietly replaced by the one before. Each also keeps which pages are free, so that a file that nobody closed can be
//! read without being mended first.

use redb::{Database, Error, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::{Each, Tree};

const fn definition(tree: &'static str) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(tree)
}

/// Makes every tree, empty.
pub(super) fn make(db: &Database) -> Result<(), Error> {
    commit(db, |changes| {
        for tree in Tree::ALL {
            changes.open_table(definition(tree.name()))?;
        }
        Ok(())
    })
}

pub(super) fn get(seen: &ReadTransaction, tree: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    Ok(seen.open_table(definition(tree))?.get(key)?.map(|value| value.value().to_vec()))
}

pub(super) fn walk(seen: &ReadTransaction, tree: &'static str, each: Each<'_>) -> Result<(), Error> {
    for pair in seen.open_table(definition(tree))?.iter()? {
        let (key, value) = pair?;
        each(key.value(), value.value());
    }
    Ok(())
}

/// Sets a value; durable on return.
pub(super) fn put(db: &Database, tree: &'static str, key: &[u8], value: &[u8]) -> Result<(), Error> {
    commit(db, |changes| {
        changes.open_table(definition(tree))?.insert(key, value)?;
        Ok(())
    })
}

/// Removes a key; durable on return. Returns whether it was there.
pub(super) fn remove(db: &Database, tree: &'static str, key: &[u8]) -> Result<bool, Error> {
    commit(db, |changes| Ok(changes.open_table(definition(tree))?.remove(key)?.is_some()))
}

fn commit<T>(db: &Database, change: impl FnOnce(&WriteTransaction) -> Result<T, Error>) -> Result<T, Error> {
    let mut changes = db.begin_write()?;
    changes.set_two_phase_commit(true);
    changes.set_quick_repair(true);
    let done = change(&changes)?;
    changes.commit()?;
    Ok(done)
}
