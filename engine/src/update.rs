//! Changing what is known of an item: what a change does not speak of stays as it is.
//!
//! An item is read, changed and written again, and that is only done if nobody wrote it meanwhile; else it is read again. So
//! of two changes of one item at once both hold, and none undoes the other.

use std::collections::HashMap;

use fromagerie_storage::{Batch, Op, Record, Snapshot, StorageError, Version};
use serde_json::{Map, Value};

use crate::bounds::check_item;
use crate::collection::{Collection, Upserted};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Content, Document, Item};

/// How often a change is tried again when others write the same items. Each time one of them was written.
const TRIES_MAX: usize = 1000;

/// What is to change of an item.
///
/// ```
/// use fromagerie::Change;
/// let change = Change::of("cat.jpg").caption("our cat, asleep").payload("mood", "calm").without("draft");
/// assert_eq!(change.key, "cat.jpg");
/// ```
#[derive(Clone, Debug)]
pub struct Change {
    /// The item's key.
    pub key: String,
    /// Words that describe it from now on.
    pub caption: Option<String>,
    /// Where it comes from.
    pub uri: Option<String>,
    /// Whether all that the payload had goes, before `payload` is applied.
    pub only_payload: bool,
    /// Values of the payload by their names at its top level; `None` removes one. The last word on a name counts.
    pub payload: Vec<(String, Option<Value>)>,
    /// Another picture or vector. Size, hash and thumbnail are then its own.
    pub content: Option<Content>,
}

impl Change {
    /// A change of the item under `key` that changes nothing yet.
    pub fn of(key: impl Into<String>) -> Change {
        Change { key: key.into(), caption: None, uri: None, only_payload: false, payload: Vec::new(), content: None }
    }

    /// Sets the caption.
    pub fn caption(mut self, caption: impl Into<String>) -> Change {
        self.caption = Some(caption.into());
        self
    }

    /// Sets the URI.
    pub fn uri(mut self, uri: impl Into<String>) -> Change {
        self.uri = Some(uri.into());
        self
    }

    /// Sets one value of the payload.
    pub fn payload(mut self, name: impl Into<String>, value: impl Into<Value>) -> Change {
        self.payload.push((name.into(), Some(value.into())));
        self
    }

    /// Removes one value of the payload, if it is there.
    pub fn without(mut self, name: impl Into<String>) -> Change {
        self.payload.push((name.into(), None));
        self
    }

    /// Puts `payload` in the place of all that was there.
    pub fn only_payload(mut self, payload: Map<String, Value>) -> Change {
        self.only_payload = true;
        self.payload = payload.into_iter().map(|(name, value)| (name, Some(value))).collect();
        self
    }

    /// Sets the picture or the vector.
    pub fn content(mut self, content: Content) -> Change {
        self.content = Some(content);
        self
    }

    /// Makes the change, on what is known of the item.
    fn apply(&self, document: &mut Document) -> Result<()> {
        if let Some(caption) = &self.caption {
            document.caption.clone_from(caption);
        }
        if let Some(uri) = &self.uri {
            document.uri.clone_from(uri);
        }
        if self.only_payload {
            document.payload.clear();
        }
        for (name, value) in &self.payload {
            match value {
                Some(value) => drop(document.payload.insert(name.clone(), value.clone())),
                None => drop(document.payload.remove(name)),
            }
        }
        check_item(&self.key, &document.caption, &document.uri, &document.payload)
    }
}

/// Keys whose changes were left out, and why.
type Failures = Vec<(String, Error)>;

/// A change, with what its new content became.
struct Ready {
    change: Change,
    made: Option<Record>,
}

/// What is to be written, and what it was made from.
#[derive(Default)]
struct Planned {
    records: Vec<Record>,
    versions: Vec<Version>,
    failures: Failures,
}

impl Collection {
    /// Changes one item, durably.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] when there is no such item; else as [`Self::insert`].
    pub fn update(&self, change: Change) -> Result<()> {
        let updated = self.update_many(vec![change], None)?;
        updated.failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Makes what changes can be made, in their order, as one durable batch, and says of each other why it was left out. A
    /// batch whose `request_id` was seen before is not written again.
    ///
    /// # Errors
    /// What is no single change's fault: no model for a new picture, a full disk, or others who write the same items all the
    /// time ([`ErrorKind::Busy`]).
    pub fn update_many(&self, changes: Vec<Change>, request_id: Option<String>) -> Result<Upserted> {
        if let Some(receipt) = request_id.as_deref().and_then(|id| self.stored().receipt(id)) {
            return Ok(Upserted { receipt: Some(receipt), failures: Vec::new() });
        }
        let (ready, mut failures) = self.make_contents(changes)?;
        let mut tries = 0;
        loop {
            let planned = self.plan(&self.stored().snapshot(), &ready)?;
            let ops: Vec<Op> = planned.records.into_iter().map(Op::Put).collect();
            let receipt = match ops.is_empty() {
                true => None,
                false => {
                    let batch = Batch { ops, request_id: request_id.clone() };
                    match self.stored().write_held_to(batch, planned.versions) {
                        Err(StorageError::Changed { .. }) if tries < TRIES_MAX => {
                            tries += 1;
                            continue;
                        }
                        written => Some(written?),
                    }
                }
            };
            failures.extend(planned.failures);
            return Ok(Upserted { receipt, failures });
        }
    }

    /// Makes vectors of new pictures, all in one batch.
    fn make_contents(&self, changes: Vec<Change>) -> Result<(Vec<Ready>, Failures)> {
        let (mut kept, mut prepared, mut failures) = (Vec::with_capacity(changes.len()), Vec::new(), Vec::new());
        for mut change in changes {
            let has_content = change.content.is_some();
            if let Some(content) = change.content.take() {
                match self.prepare(Item::new(change.key.clone(), content)) {
                    Ok(one) => prepared.push(one),
                    Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                        failures.push((change.key, error));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            kept.push((change, has_content));
        }
        self.make_vectors(&mut prepared)?;
        let mut made = prepared.into_iter().map(|one| self.record(one));
        let ready = kept.into_iter();
        let ready =
            ready.map(|(change, has_content)| Ready { change, made: has_content.then(|| made.next()).flatten() });
        Ok((ready.collect(), failures))
    }

    /// What the changes make of the items as they are in `snapshot`.
    fn plan(&self, snapshot: &Snapshot, ready: &[Ready]) -> Result<Planned> {
        let mut planned = Planned::default();
        let mut place_of: HashMap<&str, usize> = HashMap::new();
        for Ready { change, made } in ready {
            let key = change.key.as_str();
            let current = match place_of.get(key) {
                Some(&place) => Some(planned.records[place].clone()),
                None => record_of(snapshot, key)?,
            };
            let changed = match current {
                Some(record) => changed(record, change, made.as_ref()),
                None => Err(self.unknown_key(key)),
            };
            match (changed, place_of.get(key)) {
                (Ok(record), Some(&place)) => planned.records[place] = record,
                (Ok(record), None) => {
                    planned.versions.push(snapshot.version(key)?);
                    place_of.insert(key, planned.records.len());
                    planned.records.push(record);
                }
                (Err(error), _) => planned.failures.push((key.to_owned(), error)),
            }
        }
        Ok(planned)
    }
}

/// What is stored under a key, in the form in which it is written.
fn record_of(snapshot: &Snapshot, key: &str) -> Result<Option<Record>> {
    let Some(at) = snapshot.find(key)? else { return Ok(None) };
    let segment = &snapshot.segments()[at.segment];
    Ok(Some(Record {
        key: key.to_owned(),
        vector: segment.vector(at.row)?.to_f32().into_owned(),
        features: segment.features(at.row)?,
        document: segment.document(at.row)?,
    }))
}

fn changed(record: Record, change: &Change, made: Option<&Record>) -> Result<Record> {
    let mut document = Document::read(record.document)?;
    change.apply(&mut document)?;
    let Some(made) = made else { return Ok(Record { document: document.stored(), ..record }) };
    let (about, picture) = (document.stored(), made.document.clone());
    let document =
        fromagerie_storage::Document { caption: about.caption, uri: about.uri, payload: about.payload, ..picture };
    Ok(Record { document, ..made.clone() })
}
