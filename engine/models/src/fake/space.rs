//! The fake's retrieval space: colours in the first dimensions, all other words in the rest.
//!
//! A colour (r, g, b), each 0 to 1, is the unit vector along `[r - ½, g - ½, b - ½, ¼, 0, ...]`. Opposite colours are
//! far apart, grey has a direction too, and no two of the named colours are equal.

/// Width of a vector.
pub const DIM: usize = 16;

/// First dimension that no picture uses.
const WORDS: usize = 4;

/// Names of colours, with their values.
pub const COLOURS: [(&str, [f32; 3]); 13] = [
    ("red", [1.0, 0.0, 0.0]),
    ("green", [0.0, 1.0, 0.0]),
    ("blue", [0.0, 0.0, 1.0]),
    ("yellow", [1.0, 1.0, 0.0]),
    ("cyan", [0.0, 1.0, 1.0]),
    ("magenta", [1.0, 0.0, 1.0]),
    ("white", [1.0, 1.0, 1.0]),
    ("black", [0.0, 0.0, 0.0]),
    ("dark", [0.2, 0.2, 0.2]),
    ("grey", [0.5, 0.5, 0.5]),
    ("gray", [0.5, 0.5, 0.5]),
    ("orange", [1.0, 0.5, 0.0]),
    ("purple", [0.5, 0.0, 0.5]),
];

/// Words that mean nothing to a query.
const FILLERS: [&str; 36] = [
    "a",
    "an",
    "the",
    "of",
    "me",
    "i",
    "you",
    "it",
    "is",
    "in",
    "on",
    "to",
    "and",
    "or",
    "with",
    "please",
    "show",
    "picture",
    "image",
    "photo",
    "another",
    "one",
    "now",
    "this",
    "that",
    "like",
    "user",
    "assistant",
    "system",
    "here",
    "said",
    "can",
    "what",
    "more",
    "some",
    "want",
];

/// The unit vector of a colour.
pub fn of_colour(rgb: [f32; 3]) -> [f32; DIM] {
    let mut vector = [0.0; DIM];
    for (value, level) in vector.iter_mut().zip(rgb) {
        *value = level - 0.5;
    }
    vector[3] = 0.25;
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.map(|value| value / norm)
}

/// The unit vector of a lower-case word; `None` when it means nothing to a query.
pub fn of_word(word: &str) -> Option<[f32; DIM]> {
    if FILLERS.contains(&word) || !word.contains(char::is_alphanumeric) {
        return None;
    }
    if let Some((_, rgb)) = COLOURS.iter().find(|(name, _)| *name == word) {
        return Some(of_colour(*rgb));
    }
    let hash = hash(word.as_bytes());
    let mut vector = [0.0; DIM];
    let free = (DIM - WORDS) as f32;
    for (bit, value) in vector[WORDS..].iter_mut().enumerate() {
        *value = if hash >> bit & 1 == 1 { 1.0 } else { -1.0 } / free.sqrt();
    }
    Some(vector)
}

/// FNV-1a, 64 bits, with its upper half folded in.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3));
    hash ^ hash >> 32
}
