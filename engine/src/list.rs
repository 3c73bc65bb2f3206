//! Items in the order of their keys, a page at a time.

use serde_json::{Map, Value};

use crate::collection::{Collection, item_at};
use crate::error::{Error, Result};
use crate::item::StoredItem;
use crate::query::LIMIT_MAX;
use crate::retrieve;

impl Collection {
    /// At most `limit` items (1 to 1,000) whose key is greater than `after`, in the order of their keys; of those only what has
    /// every value of `payload_equals` at its payload's top level. The next page begins after the last key of this one:
    ///
    /// ```no_run
    /// # use fromagerie::{Collection, Result};
    /// # use serde_json::Map;
    /// fn print_all(photos: &Collection) -> Result<()> {
    ///     let mut after = String::new();
    ///     loop {
    ///         let page = photos.list(&after, 100, &Map::new())?;
    ///         let Some(last) = page.last() else { return Ok(()) };
    ///         after.clone_from(&last.key);
    ///         page.iter().for_each(|item| println!("{}  {}", item.key, item.document.caption));
    ///     }
    /// }
    /// ```
    ///
    /// What is written or deleted between two pages is seen where it lies behind `after`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; damage in what had to be read.
    pub fn list(&self, after: &str, limit: usize, payload_equals: &Map<String, Value>) -> Result<Vec<StoredItem>> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::OutOfRange { name: "limit", value: limit.to_string(), allowed: "1 to 1000" });
        }
        let snapshot = self.stored().snapshot();
        let agrees = retrieve::agreeing(&snapshot, payload_equals)?;
        let mut page = Vec::new();
        for found in snapshot.in_key_order(after)? {
            let (key, at) = found?;
            if agrees(at) {
                page.push(item_at(&snapshot, key, at)?);
            }
            if page.len() == limit {
                break;
            }
        }
        Ok(page)
    }
}
