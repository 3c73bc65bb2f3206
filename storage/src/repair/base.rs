//! Which generation a repair builds upon: the newest whose manifest can be read, or else the files themselves.

use crate::backend::Entry;
use crate::error::{Damage, StorageError};
use crate::manifest::{self, Manifest};

use super::subject::Subject;

/// The generation to build upon.
pub(super) struct Base {
    pub(super) manifest: Manifest,
    /// Whether it is the one that was published last. Else what it does not know of is looked for in the directory.
    pub(super) is_newest: bool,
    /// The highest generation that was ever heard of.
    pub(super) highest: u64,
}

/// Reads manifests, newest first, until one is good; what is wrong with the others goes to `damages`.
///
/// # Errors
/// [`StorageError::Unrepairable`] when no manifest and no catalog tells the collection's name and specification.
pub(super) fn choose(
    subject: &Subject<'_>,
    entries: &[Entry],
    damages: &mut Vec<Damage>,
) -> Result<Base, StorageError> {
    let mut generations: Vec<u64> = entries.iter().filter_map(|entry| manifest::generation_of(&entry.name)).collect();
    generations.sort_unstable_by(|a, b| b.cmp(a));
    let newest = generations.first().copied().unwrap_or(0);
    let highest = subject.record.as_ref().map_or(1, |record| record.generation).max(newest);
    if newest < highest {
        let what = format!("the manifest is missing; the newest that is there is {newest}");
        damages.push(Damage { path: subject.dir.join(manifest::file_name(highest)), offset: 0, what });
    }
    for generation in generations {
        let path = subject.dir.join(manifest::file_name(generation));
        match Manifest::read(subject.backend, &subject.dir, generation) {
            Ok(manifest) if manifest.collection == subject.id => {
                return Ok(Base { manifest, is_newest: generation == highest, highest });
            }
            Ok(manifest) => {
                let what = format!(
                    "manifest of collection {:016x} in the directory of {:016x}",
                    manifest.collection, subject.id
                );
                damages.push(Damage { path, offset: 0, what });
            }
            Err(StorageError::Damaged(damage)) => damages.push(damage),
            Err(error) => return Err(error),
        }
    }
    let Some(record) = &subject.record else {
        return Err(StorageError::Unrepairable {
            path: subject.dir.clone(),
            why: "neither a manifest nor the catalog tells its name and its dimension",
        });
    };
    let manifest = Manifest {
        collection: subject.id,
        generation: highest,
        name: record.name.clone(),
        spec: record.spec.clone(),
        sequence: 0,
        next_segment: 1,
        segments: Vec::new(),
        receipts: Vec::new(),
    };
    Ok(Base { manifest, is_newest: false, highest })
}
