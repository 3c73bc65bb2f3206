//! `fromagerie verify`.

use clap::Args;
use fromagerie::{RepairReport, VerifyReport};
use serde_json::json;

use super::progress::{ByteProgress, human};
use super::repair::{loss, loss_value};
use super::{FilesArgs, Outcome, Output};

/// Reads every live byte of the database and reports what is damaged, by file and offset, and what that costs.
///
/// Reads collections, aliases, sessions and jobs, and changes nothing. Beside a process that has the database open, use
/// --read-only: sessions and jobs are that process's alone, and are not read then.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    files: FilesArgs,
    /// Only this collection; all of the database when not given.
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Read beside the process that has the database open.
    #[arg(long)]
    read_only: bool,
}

impl Verify {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(self.read_only)?;
        let mut progress = ByteProgress::new(output);
        let report = match &self.collection {
            Some(name) => db.verify_collection(name, &mut |step| progress.step(step))?,
            None => db.verify(&mut |step| progress.step(step))?,
        };
        progress.done();
        for damage in &report.damages {
            output.line(
                &format!("damaged: {damage}"),
                &json!({
                    "event": "damage", "path": damage.path, "offset": damage.offset, "message": damage.to_string(),
                }),
            )?;
        }
        for risk in &report.risks {
            tell_risk(risk, output)?;
        }
        let (files, bytes, rows, damages) = (report.files, report.bytes, report.rows, report.damages.len());
        output.line(
            &summary(&report),
            &json!({
                "event": "summary", "files": files, "bytes": bytes, "rows": rows, "collections": report.collections,
                "records": report.records, "damages": damages,
            }),
        )?;
        Ok(if damages == 0 { Outcome::Done } else { Outcome::Bad })
    }
}

fn tell_risk(risk: &RepairReport, output: &Output) -> std::io::Result<()> {
    let name = &risk.collection;
    let mut text = format!("collection {name}: {}\n", loss(risk));
    text += &format!("  `fromagerie repair --db DIR --collection {name}` lists it and changes nothing\n");
    output.text(&text)?;
    output.value(&json!({"event": "risk", "collection": name, "loss": loss_value(risk)}))
}

fn summary(report: &VerifyReport) -> String {
    let records = report.records.map_or(String::new(), |records| format!(", {records} records"));
    let read = format!("{} files, {}, {} rows{records} read", report.files, human(report.bytes), report.rows);
    match report.damages.len() {
        0 => format!("{read}: all is well"),
        1 => format!("{read}: 1 place is damaged"),
        damages => format!("{read}: {damages} places are damaged"),
    }
}
