//! `fromagerie verify`.

use clap::Args;
use serde_json::json;

use super::{DatabaseArgs, Outcome, Output};

/// Reads every live byte of the database and reports what is damaged, by file and offset. Changes nothing.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    database: DatabaseArgs,
}

impl Verify {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.database.open(false)?;
        let bar = super::ingest::spinner(output);
        let report = db.verify(&mut |step| bar.set_message(step.path.display().to_string()))?;
        bar.finish_and_clear();
        for damage in &report.damages {
            output.line(
                &format!("damaged: {damage}"),
                &json!({
                    "event": "damage", "path": damage.path, "offset": damage.offset, "message": damage.to_string(),
                }),
            )?;
        }
        let (files, bytes, rows, damages) = (report.files, report.bytes, report.rows, report.damages.len());
        let verdict = if damages == 0 { "all is well".to_owned() } else { format!("{damages} places are damaged") };
        output.line(
            &format!("{files} files, {bytes} bytes, {rows} rows read: {verdict}"),
            &json!({
                "event": "summary", "files": files, "bytes": bytes, "rows": rows, "damages": damages,
            }),
        )?;
        Ok(if damages == 0 { Outcome::Done } else { Outcome::Bad })
    }
}
