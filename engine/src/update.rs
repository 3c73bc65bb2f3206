//! Changing what is known of an item: what a change does not speak of stays as it is.
//!
//! An item is read, changed and written again, and that is only done if nobody wrote it meanwhile; else it is read again. So
//! of two changes of one item at once both hold, and none undoes the other.

use std::collections::HashMap;
use std::time::Duration;

use fromagerie_storage::{Batch, Op, Receipt, Record, Snapshot, StorageError, Version};
use serde_json::{Map, Value};

use crate::bounds::check_item;
use crate::collection::{Collection, Upserted};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Content, Document, Item};

/// How often a change is tried again when others write the same items. Each time one of them was written.
const TRIES_MAX: u32 = 500;
/// After so many tries it waits a little before the next, longer each time up to `PAUSE_MS_MAX`.
const TRIES_AT_ONCE: u32 = 3;
const PAUSE_MS_MAX: u32 = 10;
/// Most bytes of the items that one batch changes: they are all written again.
const BATCH_BYTES_MAX: usize = 128 << 20;

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
    /// Another picture or vector. Size, hash and thumbnail are then its own, and so is the URI of a file, unless `uri` says
    /// another.
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

    /// Makes the change on what is known of the item; nothing of it when it cannot be made.
    fn apply(&self, known: &mut Document) -> Result<()> {
        let mut document = known.clone();
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
        check_item(&self.key, &document.caption, &document.uri, &document.payload)?;
        *known = document;
        Ok(())
    }
}

/// Keys whose changes were left out, and why.
type Failures = Vec<(String, Error)>;

/// A change, with what its new content became.
struct Ready {
    change: Change,
    made: Option<Record>,
}

impl Ready {
    /// Makes the change; nothing of it when it cannot be made.
    fn apply(&self, (record, about): &mut (Record, Document)) -> Result<()> {
        self.change.apply(about)?;
        if let Some(made) = &self.made {
            *record = made.clone();
        }
        Ok(())
    }
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
    pub fn update(&self, change: Change) -> Result<Receipt> {
        let key = change.key.clone();
        let updated = self.update_many(vec![change], None)?;
        match updated.failures.into_iter().next() {
            Some((_, error)) => Err(error),
            None => updated.receipt.ok_or_else(|| self.unknown_key(&key)),
        }
    }

    /// Makes what changes can be made, in their order, as one durable batch, and says of each other why it was left out. A
    /// batch whose `request_id` was seen before is not written again, and gets the first one's receipt.
    ///
    /// # Errors
    /// What is no single change's fault: no model for a new picture, a full disk, items of more than 128 MiB together, or
    /// others who write the same items all the time ([`ErrorKind::Busy`]).
    pub fn update_many(&self, changes: Vec<Change>, request_id: Option<String>) -> Result<Upserted> {
        let (ready, mut failures) = self.make_contents(changes)?;
        let mut tries = 0;
        loop {
            let planned = self.plan(&self.stored().snapshot(), &ready)?;
            let ops: Vec<Op> = planned.records.into_iter().map(Op::Put).collect();
            let receipt = match ops.is_empty() {
                true => request_id.as_deref().and_then(|id| self.stored().receipt(id)),
                false => {
                    let batch = Batch { ops, request_id: request_id.clone() };
                    match self.stored().write_held_to(batch, planned.versions) {
                        Err(StorageError::Changed { .. }) if tries < TRIES_MAX => {
                            tries += 1;
                            if tries > TRIES_AT_ONCE {
                                let pause = (tries - TRIES_AT_ONCE).min(PAUSE_MS_MAX);
                                std::thread::sleep(Duration::from_millis(pause.into()));
                            }
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
                if let (Content::File(path), None) = (&content, &change.uri) {
                    change.uri = Some(path.to_string_lossy().into_owned());
                }
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
        // What is known of each item is read once, however many changes it has.
        let mut items: Vec<(Record, Document)> = Vec::new();
        let mut place_of: HashMap<&str, usize> = HashMap::new();
        let mut bytes = 0;
        for each in ready {
            let key = each.change.key.as_str();
            let changed = match place_of.get(key) {
                Some(&place) => each.apply(&mut items[place]),
                // An item of which nothing can be made is not written.
                None => self.read(snapshot, key).and_then(|mut item| {
                    each.apply(&mut item)?;
                    planned.versions.push(snapshot.version(key)?);
                    bytes += bytes_of(&item.0);
                    place_of.insert(key, items.len());
                    items.push(item);
                    Ok(())
                }),
            };
            planned.failures.extend(changed.err().map(|error| (key.to_owned(), error)));
            if bytes > BATCH_BYTES_MAX {
                return Err(StorageError::BatchTooLarge { bytes, limit: BATCH_BYTES_MAX }.into());
            }
        }
        planned.records = items.into_iter().map(|(record, about)| with_words_of(record, about)).collect();
        Ok(planned)
    }

    /// What is stored under a key, and what is known of it.
    fn read(&self, snapshot: &Snapshot, key: &str) -> Result<(Record, Document)> {
        let at = snapshot.find(key)?.ok_or_else(|| self.unknown_key(key))?;
        let segment = &snapshot.segments()[at.segment];
        let document = segment.document(at.row)?;
        let words = fromagerie_storage::Document {
            payload: document.payload.clone(),
            caption: document.caption.clone(),
            uri: document.uri.clone(),
            ..fromagerie_storage::Document::default()
        };
        let record = Record {
            key: key.to_owned(),
            vector: segment.vector(at.row)?.to_f32().into_owned(),
            features: segment.features(at.row)?,
            document,
        };
        Ok((record, Document::read(words)?))
    }
}

/// The record with caption, address and payload of `about`.
fn with_words_of(record: Record, about: Document) -> Record {
    let words = about.stored();
    let document = fromagerie_storage::Document {
        caption: words.caption,
        uri: words.uri,
        payload: words.payload,
        ..record.document
    };
    Record { document, ..record }
}

/// About the bytes that a record takes, its words not counted: those are bounded.
fn bytes_of(record: &Record) -> usize {
    let floats = record.vector.len() + record.features.as_ref().map_or(0, Vec::len);
    4 * floats + record.document.thumbnail.len() + record.document.payload.len()
}
