//! `fromagerie repair`.

use clap::Args;
use fromagerie::{Database, RepairReport};
use serde_json::{Value, json};

use super::progress::ByteProgress;
use super::{FilesArgs, Outcome, Output};

/// Say what a repair of damaged collections would lose, or repair them.
///
/// Without --write nothing is changed: what a repair drops it cannot bring back, so look first, and look whether a snapshot
/// has it. With --write, what is damaged is dropped and nothing else, every lost key is named, and damaged files
/// are moved to a folder `damaged-...` beside them, not deleted. A damaged graph costs no item: it is built anew.
///
/// Exit code 0: nothing was damaged, or all of it could be made whole; 1: repaired, with losses; 3: damage was found and
/// --write was not given.
#[derive(Args)]
pub(super) struct Repair {
    #[command(flatten)]
    files: FilesArgs,
    /// Only this collection; all of the database, with its sessions and jobs, when not given.
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Repair; else only look.
    #[arg(long)]
    write: bool,
}

impl Repair {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(false)?;
        for note in db.notes() {
            output.line(&note, &json!({"event": "note", "message": note}))?;
        }
        let names = match &self.collection {
            Some(name) => vec![name.clone()],
            None => names(&db)?,
        };
        let mut reports = Vec::new();
        for name in &names {
            let mut progress = ByteProgress::new(output);
            let report = db.repair(name, self.write, &mut |step| progress.step(step));
            progress.done();
            let report = report?;
            tell(&report, output)?;
            reports.push(report);
        }
        let mut is_lossless = reports.iter().all(RepairReport::is_lossless);
        let mut is_clean = reports.iter().all(RepairReport::is_clean);
        if self.collection.is_none() {
            let catalog = db.repair_catalog(self.write)?;
            for (kind, ids) in [("session", &catalog.lost_sessions), ("job", &catalog.lost_jobs)] {
                for id in ids {
                    output.line(&format!("lost {kind} {id}"), &json!({"event": "lost", kind: id}))?;
                }
            }
            is_clean &= catalog.is_clean();
            is_lossless &= catalog.is_clean();
        }
        let lost: u64 = reports.iter().map(RepairReport::lost).sum();
        let kept: u64 = reports.iter().map(|report| report.kept).sum();
        output.line(
            match (is_clean, self.write) {
                (true, _) => "nothing is damaged",
                (false, true) => "repaired; `fromagerie verify` reads all of it again",
                (false, false) => "nothing was changed; --write repairs",
            },
            &json!({
                "event": "summary", "collections": reports.len(), "kept": kept, "lost": lost, "lossless": is_lossless,
                "clean": is_clean, "written": self.write && !is_clean,
            }),
        )?;
        Ok(match (is_clean, self.write, is_lossless) {
            (true, _, _) | (false, true, true) => Outcome::Done,
            (false, true, false) => Outcome::Partly,
            (false, false, _) => Outcome::Bad,
        })
    }
}

/// Every collection, the damaged ones too.
fn names(db: &Database) -> anyhow::Result<Vec<String>> {
    let open = db.collections()?.iter().map(|collection| collection.name().to_owned()).collect::<Vec<_>>();
    Ok(open.into_iter().chain(db.damaged().into_iter().map(|(name, _)| name)).collect())
}

fn tell(report: &RepairReport, output: &Output) -> std::io::Result<()> {
    let name = &report.collection;
    for damage in &report.damages {
        output.text(&format!("damaged: {damage}\n"))?;
        output.value(&json!({
            "event": "damage", "collection": name, "path": damage.path, "offset": damage.offset,
            "message": damage.to_string(),
        }))?;
    }
    for key in &report.lost_keys {
        output.line(&format!("lost: {key}"), &json!({"event": "lost", "collection": name, "key": key}))?;
    }
    for lost in &report.lost_rows {
        let ranges: Vec<String> =
            lost.rows.iter().map(|range| format!("{} to {}", range.start, range.end - 1)).collect();
        let rows =
            if ranges.is_empty() { "an unknown number of rows".into() } else { format!("rows {}", ranges.join(", ")) };
        let ranges: Vec<_> = lost.rows.iter().map(|range| [range.start, range.end]).collect();
        output.line(
            &format!("lost, their keys cannot be read: {rows} of {}", lost.path.display()),
            &json!({"event": "lost_rows", "collection": name, "path": lost.path, "ranges": ranges, "rows": lost.count()}),
        )?;
    }
    if let Some(lost) = &report.lost_batches {
        for key in &lost.keys {
            output.text(&format!("as it was before batch {}: {key}\n", lost.first))?;
        }
        output.value(&json!({
            "event": "lost_batches", "collection": name, "first": lost.first, "readable": lost.readable, "keys": lost.keys,
        }))?;
    }
    let verdict = if report.is_clean() { "nothing is damaged".to_owned() } else { loss(report) };
    let aside = report.moved_to.as_ref().map(|dir| format!("; damaged files are in {}", dir.display()));
    output.line(
        &format!("collection {name}: {verdict}{}", aside.unwrap_or_default()),
        &json!({
            "event": "collection", "collection": name, "clean": report.is_clean(), "loss": loss_value(report),
            "moved_to": report.moved_to,
        }),
    )
}

/// What damage costs, in a line.
pub(super) fn loss(report: &RepairReport) -> String {
    let mut parts = vec![format!("{} items can be kept", report.kept)];
    if report.lost() > 0 {
        let first: Vec<&str> = report.lost_keys.iter().take(3).map(String::as_str).collect();
        let more = if report.lost_keys.len() > 3 { ", ..." } else { "" };
        let named = if first.is_empty() { String::new() } else { format!(" ({}{more})", first.join(", ")) };
        parts.push(format!("{} are lost{named}", report.lost()));
    }
    if report.lost_rows.iter().any(|rows| rows.count().is_none()) {
        parts.push("an unknown number of items is lost with a segment that says nothing of itself".to_owned());
    }
    if let Some(lost) = &report.lost_batches {
        let (first, readable, keys) = (lost.first, lost.readable, lost.keys.len());
        parts.push(format!(
            "batches from {first} on are lost ({readable} of them can be read, which change {keys} items)"
        ));
    }
    parts.extend(report.deletes_unknown.iter().map(|why| format!("deleted items may be back: {why}")));
    if report.is_lossless() {
        parts.push("nothing is lost".to_owned());
    }
    parts.join("; ")
}

/// The same for programs.
pub(super) fn loss_value(report: &RepairReport) -> Value {
    json!({
        "kept": report.kept, "lost": report.lost(), "lossless": report.is_lossless(),
        "lost_batches_from": report.lost_batches.as_ref().map(|lost| lost.first),
        "deletes_unknown": report.deletes_unknown,
    })
}
