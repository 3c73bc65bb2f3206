//! `fromagerie verify`.

use clap::Args;
use fromagerie::{RepairReport, UnfitPart, VerifyReport};
use serde_json::json;

use super::progress::{ByteProgress, human};
use super::repair::{loss, loss_value};
use super::{FilesArgs, Outcome, Output};

/// Read every stored byte and report damage.
///
/// Damage is named by file and offset, with what it costs. Graphs and lists of payloads are also compared with their rows:
/// one that cannot be used, as of another version, loses no item, but searches are slower or find less.
///
/// Reads collections, aliases, sessions and jobs, and changes nothing. Beside a process that has the database open, use
/// --read-only: sessions and jobs are that process's alone, and are not read then.
///
/// Exit code 0: all is well; 3: something was found.
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
        let VerifyReport { read, unfit } = &report;
        for damage in &read.damages {
            output.line(
                &format!("damaged: {damage}"),
                &json!({
                    "event": "damage", "path": damage.path, "offset": damage.offset, "message": damage.to_string(),
                }),
            )?;
        }
        for risk in &read.risks {
            tell_risk(risk, output)?;
        }
        unfit.iter().try_for_each(|part| tell_unfit(part, output))?;
        let (files, bytes, rows, damages) = (read.files, read.bytes, read.rows, read.damages.len());
        output.line(
            &summary(&report),
            &json!({
                "event": "summary", "files": files, "bytes": bytes, "rows": rows, "collections": read.collections,
                "records": read.records, "damages": damages, "unfit": unfit.len(),
            }),
        )?;
        Ok(if report.is_clean() { Outcome::Done } else { Outcome::Bad })
    }
}

fn tell_unfit(part: &UnfitPart, output: &Output) -> std::io::Result<()> {
    let name = &part.collection;
    let text = format!(
        "unfit: {part}\n  no item is lost, but searches are slower or find less; `fromagerie compact --db DIR --collection {name} --rebuild` \
         makes it anew"
    );
    output.line(
        &text,
        &json!({
            "event": "unfit", "collection": name, "segment": part.segment, "rows": part.rows, "part": part.part,
            "message": part.problem,
        }),
    )
}

fn tell_risk(risk: &RepairReport, output: &Output) -> std::io::Result<()> {
    let name = &risk.collection;
    let mut text = format!("collection {name}: {}\n", loss(risk));
    text += &format!("  `fromagerie repair --db DIR --collection {name}` lists it and changes nothing\n");
    output.text(&text)?;
    output.value(&json!({"event": "risk", "collection": name, "loss": loss_value(risk)}))
}

fn summary(report: &VerifyReport) -> String {
    let read = &report.read;
    let records = read.records.map_or(String::new(), |records| format!(", {records} records"));
    let read = format!("{} files, {}, {} rows{records} read", read.files, human(read.bytes), read.rows);
    let found = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let damages = found(report.read.damages.len(), "place is damaged", "places are damaged");
    let unfit = found(report.unfit.len(), "part cannot be used", "parts cannot be used");
    let found: Vec<String> = damages.into_iter().chain(unfit).collect();
    if found.is_empty() { format!("{read}: all is well") } else { format!("{read}: {}", found.join(", ")) }
}
