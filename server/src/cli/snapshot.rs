//! `fromagerie snapshot` and `fromagerie restore`.

use std::path::PathBuf;

use clap::Args;
use fromagerie::{CopyReport, Database};
use serde_json::json;

use super::progress::{ByteProgress, human};
use super::{FilesArgs, Outcome, Output};

/// Copy the database as it is at one moment.
///
/// Every byte is checked on the way; a damaged database is not copied. Sealed files are hard links where the file system
/// has them: that takes little time and room, and both share their bytes on the disk; --whole copies them. A server
/// takes a snapshot of its own database through AdminService.CreateSnapshot, while it serves.
#[derive(Args)]
pub(super) struct Snapshot {
    #[command(flatten)]
    files: FilesArgs,
    /// Where the snapshot will be: a directory that does not exist yet, or is empty.
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Copy all bytes, and share none with the database: for another disk, or against a disk that fails.
    #[arg(long)]
    whole: bool,
}

/// Make a database of a snapshot.
///
/// A snapshot that is damaged or not complete is refused, by file and offset, and nothing is made.
#[derive(Args)]
pub(super) struct Restore {
    /// The snapshot's directory.
    #[arg(value_name = "SNAPSHOT")]
    snapshot: PathBuf,
    /// Where the database will be: a directory that does not exist yet, or is empty.
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Copy all bytes, and share none with the snapshot.
    #[arg(long)]
    whole: bool,
}

impl Snapshot {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(false)?;
        let mut progress = ByteProgress::new(output);
        let taken = db.snapshot(&self.dest, self.whole, &mut |step| progress.step(step));
        progress.done();
        tell("snapshot", &self.dest, &taken?, output)
    }
}

impl Restore {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let mut progress = ByteProgress::new(output);
        let made = Database::restore(&self.snapshot, &self.dest, self.whole, &mut |step| progress.step(step));
        progress.done();
        tell("database", &self.dest, &made?, output)
    }
}

fn tell(what: &str, dest: &std::path::Path, report: &CopyReport, output: &Output) -> anyhow::Result<Outcome> {
    let CopyReport { files, bytes, linked_bytes, collections, items, records } = *report;
    output.line(
        &format!(
            "{what} {}: {collections} collections, {items} items, {records} sessions and jobs; {files} files, {}, of \
             which {} are hard links",
            dest.display(),
            human(bytes),
            human(linked_bytes)
        ),
        &json!({
            "event": "summary", "path": dest, "collections": collections, "items": items, "records": records,
            "files": files, "bytes": bytes, "linked_bytes": linked_bytes,
        }),
    )?;
    Ok(Outcome::Done)
}
