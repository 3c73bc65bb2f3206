//! `fromagerie collections`.

use clap::Args;
use serde_json::json;

use super::{DatabaseArgs, Outcome, Output};

/// List collections and aliases.
#[derive(Args)]
pub(super) struct Collections {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Read beside the process that has the database open.
    #[arg(long)]
    read_only: bool,
}

impl Collections {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = if self.read_only { self.database.open_read_only()? } else { self.database.open(false)? };
        let collections = db.collections()?;
        for collection in &collections {
            let space = collection.space().map(hex::encode);
            let shown = space.as_ref().map_or("vectors only", |hex| &hex[..12]);
            let (name, items, dim) = (collection.name(), collection.len(), collection.dim());
            output.line(
                &format!("{name}  {items} items  {dim} dimensions  space {shown}"),
                &json!({
                    "event": "collection", "name": name, "items": items, "dim": dim, "space": space,
                    "sealed_segments": collection.sealed_segments(),
                }),
            )?;
        }
        let aliases = db.aliases();
        for (alias, collection) in &aliases {
            output.line(
                &format!("{alias} -> {collection}"),
                &json!({"event": "alias", "name": alias, "collection": collection}),
            )?;
        }
        if collections.is_empty() {
            output.text("no collections yet: ingest into one\n")?;
        }
        output.value(&json!({"event": "summary", "collections": collections.len(), "aliases": aliases.len()}))?;
        Ok(Outcome::Done)
    }
}
