//! What an item may say at most, checked before it is acknowledged: what is stored must be readable, by everybody.
//!
//! JSON's reader stops at 128 levels, and protocol buffers, where a level of JSON is three messages, at 100 messages. An
//! item that is nested deeper could be written and never be read again.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Longest picture that is read, in bytes; the decoder's own limit.
pub(crate) const PICTURE_BYTES_MAX: u64 = 64 << 20;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 512;
/// Longest caption or address, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most bytes of names and texts of a payload, each value counted as eight more.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of a payload; an object of numbers has one level.
const PAYLOAD_LEVELS_MAX: usize = 20;
/// What a value counts as, besides its text.
const VALUE_BYTES: usize = 8;

fn check_key(key: &str) -> Result<()> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    bad(key, format!("its key has {} bytes; use 1 to {KEY_BYTES_MAX}", key.len()))
}

/// # Errors
/// [`Error::BadItem`] for a key that is empty or too long, a caption, an address or a payload that is too long, and a payload
/// that is nested too deep.
pub(crate) fn check_item(key: &str, caption: &str, uri: &str, payload: &Map<String, Value>) -> Result<()> {
    check_key(key)?;
    for (name, text) in [("caption", caption), ("uri", uri)] {
        if text.len() > TEXT_BYTES_MAX {
            return bad(key, format!("its {name} has {} bytes; {TEXT_BYTES_MAX} are kept at most", text.len()));
        }
    }
    let Some(bytes) = bytes_of_object(payload, PAYLOAD_LEVELS_MAX) else {
        return bad(key, format!("its payload is nested deeper than {PAYLOAD_LEVELS_MAX} levels; make it flatter"));
    };
    if bytes > PAYLOAD_BYTES_MAX {
        return bad(key, format!("its payload has some {bytes} bytes; {PAYLOAD_BYTES_MAX} are kept at most"));
    }
    Ok(())
}

fn bad<T>(key: &str, problem: String) -> Result<T> {
    Err(Error::BadItem { key: key.chars().take(40).collect(), problem })
}

/// About how many bytes an object has; `None` for one of more than `levels` levels.
fn bytes_of_object(object: &Map<String, Value>, levels: usize) -> Option<usize> {
    let levels = levels.checked_sub(1)?;
    object.iter().try_fold(0, |sum, (name, value)| Some(sum + name.len() + bytes_of(value, levels)?))
}

fn bytes_of(value: &Value, levels: usize) -> Option<usize> {
    Some(match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => VALUE_BYTES,
        Value::String(text) => VALUE_BYTES + text.len(),
        Value::Array(values) => {
            let levels = levels.checked_sub(1)?;
            values.iter().try_fold(VALUE_BYTES, |sum, value| Some(sum + bytes_of(value, levels)?))?
        }
        Value::Object(object) => VALUE_BYTES + bytes_of_object(object, levels)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Map<String, Value> {
        let inner = (1..levels).fold(Value::from(1), |inner, at| {
            if at % 2 == 0 { Value::Array(vec![inner]) } else { Map::from_iter([("a".to_owned(), inner)]).into() }
        });
        Map::from_iter([("a".to_owned(), inner)])
    }

    fn problem(caption: &str, uri: &str, payload: &Map<String, Value>) -> String {
        check_item("k", caption, uri, payload).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_cannot_be_read_again_is_refused() {
        assert_eq!(problem("c", "u", &nested(PAYLOAD_LEVELS_MAX)), "");
        assert!(problem("c", "u", &nested(PAYLOAD_LEVELS_MAX + 1)).contains("20 levels"));
        assert!(problem("c", "u", &nested(3000)).contains("20 levels"));
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(problem(&long, "u", &Map::new()).contains("its caption has 65537 bytes"));
        assert!(problem("c", &long, &Map::new()).contains("its uri has 65537 bytes"));
        let payload = |bytes| Map::from_iter([("a".to_owned(), Value::from("x".repeat(bytes)))]);
        assert_eq!(problem("c", "u", &payload(PAYLOAD_BYTES_MAX - VALUE_BYTES - 1)), "");
        assert!(problem("c", "u", &payload(PAYLOAD_BYTES_MAX)).contains("some 1048585 bytes"));
        assert!(check_item("", "c", "u", &Map::new()).unwrap_err().to_string().contains("0 bytes; use 1 to 512"));
    }
}
