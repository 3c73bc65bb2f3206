//! `fromagerie list`.

use clap::Args;
use fromagerie::StoredItem;
use serde_json::{Value, json};

use super::filter::FilterArgs;
use super::{FilesArgs, Outcome, Output};

/// Items read at a time.
const PAGE: usize = 100;

/// List items in the order of their keys.
///
/// Prints keys and captions; with --json, all that is stored but vectors and thumbnails. A long list is cut with --limit and
/// gone on with by --after and the last key.
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    files: FilesArgs,
    /// A collection or an alias.
    #[arg(long)]
    collection: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only keys behind this one.
    #[arg(long, value_name = "KEY", default_value = "")]
    after: String,
    /// Most items; all when not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Read beside the process that has the database open.
    #[arg(long)]
    read_only: bool,
}

impl List {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = self.files.open(self.read_only)?;
        let collection = db.open_collection(&self.collection)?;
        let (filter, mut after) = (self.filter.payload_equals(), self.after);
        let (limit, mut listed) = (self.limit.map_or(usize::MAX, |limit| limit as usize), 0);
        while listed < limit {
            let page = collection.list(&after, PAGE.min(limit - listed), &filter)?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.key);
            for item in &page {
                let caption = &item.document.caption;
                let gap = if caption.is_empty() { "" } else { "  " };
                output.line(&format!("{}{gap}{caption}", item.key), &value(item))?;
            }
            listed += page.len();
        }
        if listed == 0 {
            output.text("nothing found\n")?;
        }
        output.value(&json!({"event": "summary", "collection": collection.name(), "items": listed}))?;
        Ok(Outcome::Done)
    }
}

fn value(item: &StoredItem) -> Value {
    let document = &item.document;
    json!({
        "event": "item", "key": item.key, "caption": document.caption, "uri": document.uri, "width": document.width,
        "height": document.height, "payload": document.payload, "content_hash": document.content_hash.map(hex::encode),
    })
}
