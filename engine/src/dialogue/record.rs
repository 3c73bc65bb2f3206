//! What is stored of a conversation: each turn as people read it and as the model read it, and every picture's
//! visual tokens, so that it can be continued in another process without the pictures themselves.

use std::collections::HashSet;
use std::sync::Arc;

use fromagerie_models::ImageEncoding;
use serde::{Deserialize, Serialize};

use super::context::Atom;
use super::turn::{Part, Role, Turn};
use crate::encoder::EncodedImage;
use crate::error::{Error, Result};

const VERSION: u32 = 1;

/// A session as it is stored.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its name.
    pub name: String,
    /// The collection its pictures come from.
    pub collection: String,
    /// Finished turns, oldest first; the user's own pictures appear as empty bytes.
    pub turns: Vec<Turn>,
    /// Seconds since 1970.
    pub created: u64,
}

/// A conversation in memory.
pub(crate) struct SessionRecord {
    pub(crate) collection: String,
    /// By number, as atoms name them.
    pub(crate) images: Vec<Arc<EncodedImage>>,
    created: u64,
    turns: Vec<StoredTurn>,
}

/// The same as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    collection: String,
    created: u64,
    turns: Vec<StoredTurn>,
    images: Vec<StoredImage>,
}

#[derive(Serialize, Deserialize)]
struct StoredTurn {
    role: Role,
    parts: Vec<StoredPart>,
    atoms: Vec<Atom>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPart {
    Text(String),
    /// A picture of the user's, whose bytes are not kept.
    Upload,
    Key(String),
}

/// Hex of little-endian f32.
#[derive(Serialize, Deserialize)]
struct StoredImage {
    hash: String,
    retrieval: String,
    visual_tokens: String,
}

impl SessionRecord {
    pub(crate) fn new(collection: &str, created: u64) -> SessionRecord {
        SessionRecord { collection: collection.to_owned(), images: Vec::new(), created, turns: Vec::new() }
    }

    pub(crate) fn push_user(&mut self, turn: &Turn, atoms: Vec<Atom>) {
        self.push(Role::User, &turn.parts, atoms);
    }

    pub(crate) fn push_reply(&mut self, atoms: Vec<Atom>, parts: &[Part]) {
        self.push(Role::Assistant, parts, atoms);
    }

    fn push(&mut self, role: Role, parts: &[Part], atoms: Vec<Atom>) {
        let parts = parts.iter().map(|part| match part {
            Part::Text(text) => StoredPart::Text(text.clone()),
            Part::Image(_) => StoredPart::Upload,
            Part::ImageKey(key) => StoredPart::Key(key.clone()),
        });
        self.turns.push(StoredTurn { role, parts: parts.collect(), atoms });
    }

    /// Each turn as the model reads it.
    pub(crate) fn turn_atoms(&self) -> impl Iterator<Item = Vec<Atom>> {
        self.turns.iter().map(|t| t.atoms.clone())
    }

    /// Keys of pictures that either side has shown.
    pub(crate) fn shown(&self) -> HashSet<String> {
        let parts = self.turns.iter().flat_map(|t| &t.parts);
        parts.filter_map(|p| if let StoredPart::Key(key) = p { Some(key.clone()) } else { None }).collect()
    }

    pub(crate) fn info(&self, name: &str) -> SessionInfo {
        let turns = self
            .turns
            .iter()
            .map(|turn| Turn { role: turn.role, parts: turn.parts.iter().map(StoredPart::part).collect() });
        SessionInfo {
            name: name.to_owned(),
            collection: self.collection.clone(),
            turns: turns.collect(),
            created: self.created,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let turns = self.turns.iter().map(|t| serde_json::json!({"role": t.role, "parts": t.parts, "atoms": t.atoms}));
        let images = self.images.iter().map(|i| StoredImage {
            hash: hex::encode(i.hash),
            retrieval: to_hex(&i.encoding.retrieval),
            visual_tokens: to_hex(&i.encoding.visual_tokens),
        });
        serde_json::json!({
            "version": VERSION,
            "collection": self.collection,
            "created": self.created,
            "turns": turns.collect::<Vec<_>>(),
            "images": images.collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes()
    }

    pub(crate) fn from_bytes(name: &str, bytes: &[u8]) -> Result<SessionRecord> {
        let bad = |problem: String| Error::BadSession { name: name.to_owned(), problem };
        let stored: Stored = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if stored.version != VERSION {
            return Err(bad(format!("it was written in version {}, this is version {VERSION}", stored.version)));
        }
        let images = stored.images.iter().map(StoredImage::read).collect::<Option<_>>();
        Ok(SessionRecord {
            collection: stored.collection,
            images: images.ok_or_else(|| bad("a picture's numbers are damaged".to_owned()))?,
            created: stored.created,
            turns: stored.turns,
        })
    }
}

impl StoredPart {
    fn part(&self) -> Part {
        match self {
            StoredPart::Text(text) => Part::Text(text.clone()),
            StoredPart::Upload => Part::Image(Vec::new()),
            StoredPart::Key(key) => Part::ImageKey(key.clone()),
        }
    }
}

impl StoredImage {
    fn read(&self) -> Option<Arc<EncodedImage>> {
        let encoding = ImageEncoding {
            retrieval: from_hex(&self.retrieval)?,
            visual_tokens: from_hex(&self.visual_tokens)?,
            features: Vec::new(),
        };
        let hash = hex::decode(&self.hash).ok()?.try_into().ok()?;
        Some(Arc::new(EncodedImage { hash, encoding }))
    }
}

fn to_hex(values: &[f32]) -> String {
    hex::encode(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

fn from_hex(text: &str) -> Option<Vec<f32>> {
    let bytes = hex::decode(text).ok()?;
    let (values, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| values.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_survives_its_bytes() {
        let mut record = SessionRecord::new("photos", 7);
        let encoding =
            ImageEncoding { retrieval: vec![0.6, 0.8], visual_tokens: vec![1.5, -0.0], features: Vec::new() };
        record.images.push(Arc::new(EncodedImage { hash: [3; 32], encoding }));
        let said = Turn { role: Role::User, parts: vec![Part::Text("like this".into()), Part::Image(vec![1])] };
        record.push_user(&said, vec![Atom::Token(4), Atom::Visual { image: 0, slot: 1 }]);
        record.push_reply(vec![Atom::Token(5)], &[Part::ImageKey("a.png".into())]);
        let again = SessionRecord::from_bytes("s", &record.to_bytes()).unwrap();
        assert_eq!(again.turn_atoms().collect::<Vec<_>>(), record.turn_atoms().collect::<Vec<_>>());
        assert_eq!(again.images, record.images);
        assert_eq!(again.shown(), HashSet::from(["a.png".to_owned()]));
        assert_eq!(again.info("s").turns[0].parts[1], Part::Image(Vec::new()));
    }

    #[test]
    fn damaged_bytes_are_an_error_that_names_the_session() {
        let bytes = SessionRecord::new("photos", 7).to_bytes();
        for cut in 0..bytes.len() {
            let error = SessionRecord::from_bytes("s-1", &bytes[..cut]).err().unwrap().to_string();
            assert!(error.contains("\"s-1\""), "{error}");
        }
    }
}
