//! What people say to each other: turns of words and pictures, in reading order.

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Words.
    Text(String),
    /// The bytes of a picture.
    Image(Vec<u8>),
    /// A picture of the collection.
    ImageKey(String),
}

/// What one side said.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What, in reading order.
    pub parts: Vec<Part>,
}

impl Turn {
    /// Words of the user's.
    pub fn user(text: impl Into<String>) -> Turn {
        Turn { role: Role::User, parts: vec![Part::Text(text.into())] }
    }
}

impl Turn {
    /// True without words and pictures.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(text) if text.trim().is_empty()))
    }
}
