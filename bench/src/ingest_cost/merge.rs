//! Segments merged into one while searches run: the largest merge that there can be, with the graph over all rows.

use clap::Args;
use serde_json::{Value, json};

use crate::searching::{Filled, Searches, queries};
use crate::{disk_bytes, memory};

const NAME: &str = "items";

/// Merges all segments of a collection while searches run.
#[derive(Args)]
pub(crate) struct Merge {
    #[command(flatten)]
    filled: Filled,
}

impl Merge {
    pub(crate) fn run(self) -> anyhow::Result<Value> {
        let (folder, (db, items, written)) = (&self.filled.db, self.filled.make(NAME)?);
        let (segments, before) = (items.sealed_segments(), disk_bytes(folder));
        let queries = queries(&items)?;
        let searches = Searches { db: &db, folder, name: NAME, queries: &queries };
        let (mut told, merged) = searches.beside(self.filled.idle_seconds, || items.compact(&mut |_| {}));
        merged?;
        told["items"] = written.into();
        told["segments"] = json!([segments, items.sealed_segments()]);
        told["disk_before"] = before.into();
        told["disk_after"] = disk_bytes(folder).into();
        told["memory"] = memory()?;
        Ok(told)
    }
}
