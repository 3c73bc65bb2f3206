//! Looking at a collection's files as they lie, and what every damage costs. Changes nothing.

use crate::batch::CollectionSpec;
use crate::collection::Inner;
use crate::error::StorageError;
use crate::manifest::Manifest;
use crate::progress::Meter;

use super::journals::{self, Replayable};
use super::segments::{Source, Survey};
use super::subject::Subject;
use super::{RepairReport, base};

/// What was found, and what a repair would build from.
pub(crate) struct Examined {
    pub(crate) report: RepairReport,
    /// The generation to build upon.
    pub(super) manifest: Manifest,
    /// The highest generation that was ever heard of.
    pub(super) highest_generation: u64,
    pub(super) sources: Vec<Source>,
    pub(super) replay: Replayable,
}

impl Examined {
    /// What the collection holds.
    pub(crate) fn spec(&self) -> &CollectionSpec {
        &self.manifest.spec
    }
}

/// Reads every byte of the collection.
///
/// # Errors
/// [`StorageError::Unrepairable`], or an I/O error: nothing can be said then.
pub(crate) fn examine(subject: &Subject<'_>, meter: &mut Meter<'_>) -> Result<Examined, StorageError> {
    let entries = match subject.backend.list(&subject.dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StorageError::Unrepairable { path: subject.dir.clone(), why: "its directory is missing" });
        }
        Err(error) => return Err(StorageError::io(&subject.dir, "list", error)),
    };
    let mut report = RepairReport { id: subject.id, ..RepairReport::default() };
    let base = base::choose(subject, &entries, &mut report.damages)?;
    report.collection.clone_from(&base.manifest.name);
    let survey = Survey { subject, base: &base, entries: &entries, report: &mut report, meter };
    let sources = survey.run()?;
    let replay = journals::survey(subject, &base, &entries, &mut report)?;
    if !base.is_newest && (replay.after > base.manifest.sequence || replay.files.is_empty()) {
        report.deletes_unknown = Some(format!(
            "what batches {} to {} deleted is not known, since the manifest that told is damaged",
            base.manifest.sequence + 1,
            replay.after
        ));
    }
    report.lost_keys.retain(|key| !replay.touched.contains_key(key));
    report.lost_keys.sort_unstable();
    report.lost_keys.dedup();
    report.kept = kept(&sources, &replay)?;
    report.damages.dedup();
    let highest_generation = base.highest;
    Ok(Examined { report, manifest: base.manifest, highest_generation, sources, replay })
}

/// The report on an open collection, whose publisher's lock the caller holds.
pub(crate) fn of_open(inner: &Inner) -> Result<Examined, StorageError> {
    examine(&Subject::open(inner), &mut Meter::new(&mut |_| {}))
}

/// Items that there will be: rows that no batch of the journals touches, and what those leave alive.
fn kept(sources: &[Source], replay: &Replayable) -> Result<u64, StorageError> {
    let mut kept = replay.touched.values().filter(|&&alive| alive).count() as u64;
    for source in sources {
        if replay.touched.is_empty() {
            kept += u64::from(source.view.live_rows());
            continue;
        }
        for row in source.view.live() {
            kept += u64::from(!replay.touched.contains_key(source.view.key(row)?));
        }
    }
    Ok(kept)
}
