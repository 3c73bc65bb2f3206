//! The collections that an alias names, named, or may name: kept until told, and one step away.

use std::collections::HashSet;

use crate::database::Database;
use crate::error::{Error, Result};

/// One generation of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The collection.
    pub collection: String,
    /// Its number; `None` for a collection that the alias was pointed at by hand.
    pub number: Option<u64>,
    /// Whether the alias names it.
    pub is_current: bool,
    /// Live items.
    pub items: u64,
    /// Bytes of its sealed files.
    pub sealed_bytes: u64,
    /// Fingerprint of its retrieval space.
    pub space: Option<[u8; 32]>,
    /// What the alias named before.
    pub replaces: Option<String>,
}

impl Database {
    /// The collection that an alias names.
    pub(crate) fn named_by(&self, alias: &str) -> Option<String> {
        self.aliases().into_iter().find(|(name, _)| name == alias).map(|(_, collection)| collection)
    }

    /// The first number above `last` whose name nobody has, and that name: one made by hand may look like a generation's.
    pub(crate) fn next_generation(&self, alias: &str, last: u64) -> Result<(u64, String)> {
        let collections = self.collections()?.into_iter().map(|collection| collection.name().to_owned());
        let taken: HashSet<String> = collections.chain(self.aliases().into_iter().map(|(alias, _)| alias)).collect();
        let mut number = last + 1;
        while taken.contains(&format!("{alias}.g{number}")) {
            number += 1;
        }
        Ok((number, format!("{alias}.g{number}")))
    }

    /// The generations of an alias that are there, by number; those without one first.
    ///
    /// # Errors
    /// [`Error::UnknownAlias`] when there are none.
    pub fn generations(&self, alias: &str) -> Result<Vec<Generation>> {
        let generations = self.generations_of(alias)?;
        if generations.is_empty() {
            let known = self.aliases().into_iter().map(|(alias, _)| alias).collect();
            return Err(Error::UnknownAlias { name: alias.to_owned(), known });
        }
        Ok(generations)
    }

    pub(crate) fn generations_of(&self, alias: &str) -> Result<Vec<Generation>> {
        let current = self.named_by(alias);
        let collections = self.collections()?;
        let own = |name: &str| {
            let collection = collections.iter().find(|collection| collection.name() == name)?;
            collection.settings().generation.as_ref().filter(|of| of.alias == alias)
        };
        let replaced: Vec<&str> = collections
            .iter()
            .filter_map(|collection| own(collection.name())?.replaces.as_deref())
            .chain(current.as_deref())
            .collect();
        let mut generations: Vec<Generation> = collections
            .iter()
            .filter(|collection| own(collection.name()).is_some() || replaced.contains(&collection.name()))
            .map(|collection| Generation {
                collection: collection.name().to_owned(),
                number: own(collection.name()).map(|of| of.number),
                is_current: current.as_deref() == Some(collection.name()),
                items: collection.len() as u64,
                sealed_bytes: collection.stats().sealed_bytes,
                space: collection.space(),
                replaces: own(collection.name()).and_then(|of| of.replaces.clone()),
            })
            .collect();
        generations.sort_by(|a, b| a.number.cmp(&b.number).then_with(|| a.collection.cmp(&b.collection)));
        Ok(generations)
    }

    /// Moves an alias back to what it named before, or to any other of its generations; the name of that.
    ///
    /// # Errors
    /// [`Error::UnknownAlias`]; [`Error::NoGeneration`] when there is nothing to go back to.
    pub fn rollback(&self, alias: &str, to: Option<&str>) -> Result<String> {
        let generations = self.generations(alias)?;
        let current = generations.iter().find(|generation| generation.is_current);
        let wanted = to.map(str::to_owned).or_else(|| current?.replaces.clone());
        let known = |name: &String| generations.iter().any(|generation| generation.collection == *name);
        let Some(wanted) = wanted.filter(known) else {
            let known = generations.iter().map(|generation| generation.collection.clone()).collect();
            return Err(Error::NoGeneration { alias: alias.to_owned(), asked: to.map(str::to_owned), known });
        };
        self.set_alias(alias, &wanted)?;
        Ok(wanted)
    }

    /// Deletes a generation that its alias does not name.
    ///
    /// # Errors
    /// [`Error::UnknownAlias`]; [`Error::NoGeneration`]; storage's error when an alias names it.
    pub fn drop_generation(&self, alias: &str, collection: &str) -> Result<()> {
        let generations = self.generations(alias)?;
        if !generations.iter().any(|generation| generation.collection == collection) {
            let known = generations.iter().map(|generation| generation.collection.clone()).collect();
            return Err(Error::NoGeneration { alias: alias.to_owned(), asked: Some(collection.to_owned()), known });
        }
        self.drop_collection(collection)
    }
}
