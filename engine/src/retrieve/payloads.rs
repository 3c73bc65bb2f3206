//! Which rows of a segment have which values in their payloads: a sorted list, made when the segment is sealed and read
//! where it is mapped. `docs/FORMAT.md` draws its bytes.
//!
//! A value is known by a hash of 128 bits over its name and its JSON text, so a list holds no values and none is compared. Numbers
//! are what they are worth: 1 and 1.0 are one value, as over gRPC, where all numbers are floats.

use fromagerie_storage::{PayloadLister, SegmentView};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::item::Document;

const MAGIC: [u8; 8] = *b"FRMPAYLD";
const VERSION: u16 = 2;
const HEAD_BYTES: usize = 64;
/// A value's hash, and where its rows end.
const ENTRY_BYTES: usize = 20;
/// Values of all rows together: bounds the heap of a seal at about 800 MB. A segment with more has no list.
const PLACES_MAX: usize = 32 << 20;

/// The first floats behind all that an i64, and a u64, can hold.
const I64_END: f64 = 9_223_372_036_854_775_808.0;
const U64_END: f64 = 18_446_744_073_709_551_616.0;

/// What a value is known by.
type Name = [u8; 16];

/// Makes the list of a segment.
#[derive(Default)]
pub(crate) struct Lister {
    places: Vec<(Name, u32)>,
    rows: u32,
    /// A payload that is no object, or too many values.
    is_hopeless: bool,
}

impl PayloadLister for Lister {
    fn add(&mut self, payload: &str) {
        let row = self.rows;
        self.rows += 1;
        if payload.is_empty() || self.is_hopeless {
            return;
        }
        let Ok(values) = serde_json::from_str::<Map<String, Value>>(payload) else {
            self.is_hopeless = true;
            return;
        };
        self.places.extend(values.iter().map(|(name, value)| (name_of(name, value), row)));
        self.is_hopeless |= self.places.len() > PLACES_MAX;
    }

    fn finish(self: Box<Self>) -> Option<Vec<u8>> {
        if self.is_hopeless {
            return None;
        }
        let mut places = self.places;
        places.sort_unstable();
        let values = places.chunk_by(|a, b| a.0 == b.0).count();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + ENTRY_BYTES * values + 4 * places.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        for count in [self.rows, values as u32, places.len() as u32] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes.resize(HEAD_BYTES, 0);
        let mut end = 0;
        for same in places.chunk_by(|a, b| a.0 == b.0) {
            end += same.len() as u32;
            bytes.extend_from_slice(&same[0].0);
            bytes.extend_from_slice(&end.to_le_bytes());
        }
        places.iter().for_each(|(_, row)| bytes.extend_from_slice(&row.to_le_bytes()));
        Some(bytes)
    }
}

/// A list over borrowed bytes.
#[derive(Clone, Copy)]
pub(super) struct Payloads<'a> {
    entries: &'a [[u8; ENTRY_BYTES]],
    places: &'a [[u8; 4]],
}

impl<'a> Payloads<'a> {
    /// The list of a segment of `rows` rows; none where the bytes are no such list.
    pub(super) fn parse(bytes: &'a [u8], rows: u32) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let known = bytes.get(..8)? == MAGIC && bytes.get(8..12)? == [VERSION as u8, 0, 0, 0] && word(12)? == rows;
        let (values, places) = (word(16)? as usize, word(20)? as usize);
        let body = bytes.get(HEAD_BYTES..).filter(|_| known)?;
        if body.len() as u64 != values as u64 * ENTRY_BYTES as u64 + places as u64 * 4 {
            return None;
        }
        let (entries, rest) = body.split_at(values * ENTRY_BYTES);
        Some(Self { entries: entries.as_chunks().0, places: rest.as_chunks().0 })
    }

    /// The rows that have `value` under `name`, ascending.
    pub(super) fn rows(&self, name: &str, value: &Value) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        self.places_of(name, value).iter().map(|word| u32::from_le_bytes(*word))
    }

    fn places_of(&self, name: &str, value: &Value) -> &'a [[u8; 4]] {
        let wanted = name_of(name, value);
        let end = |at: usize| {
            let [.., a, b, c, d] = self.entries[at];
            u32::from_le_bytes([a, b, c, d]) as usize
        };
        let range = match self.entries.binary_search_by(|entry| entry[..16].cmp(&wanted)) {
            Ok(at) => (if at == 0 { 0 } else { end(at - 1) })..end(at),
            Err(_) => 0..0,
        };
        self.places.get(range).unwrap_or_default()
    }
}

/// Whether `list` has every value of every row of `segment`, and no other; the first that it has not.
///
/// # Errors
/// Damage in documents.
pub(crate) fn first_missing(bytes: &[u8], segment: &SegmentView) -> Result<Option<String>> {
    let Some(list) = Payloads::parse(bytes, segment.rows()) else {
        return Ok(Some("it is no list of this version and of so many rows".to_owned()));
    };
    let mut values = 0;
    for row in 0..segment.rows() {
        let document = Document::read(segment.document(row)?)?;
        values += document.payload.len();
        for (name, value) in &document.payload {
            let places = list.places_of(name, value);
            if places.binary_search_by_key(&row, |place| u32::from_le_bytes(*place)).is_err() {
                return Ok(Some(format!("row {row} is missing under {name:?}")));
            }
        }
    }
    let places = list.places.len();
    Ok((places != values).then(|| format!("it has {places} places for {values} values")))
}

/// What a value is known by. Numbers pass through their text, as they do on their way to storage.
fn name_of(name: &str, value: &Value) -> Name {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(text_of(value).as_bytes());
    let hash = hash.finalize();
    std::array::from_fn(|at| hash[at])
}

/// The text of a value, the same for values that are equal once they have been stored.
fn text_of(value: &Value) -> String {
    let text = value.to_string();
    match value {
        Value::String(_) | Value::Null | Value::Bool(_) => text,
        _ => serde_json::from_str(&text).map_or(text, |value| plain(value).to_string()),
    }
}

/// The same value with each whole number as an integer.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() && x.fract() == 0.0 && (-I64_END..I64_END).contains(&x) => (x as i64).into(),
            Some(x) if number.is_f64() && x.fract() == 0.0 && (0.0..U64_END).contains(&x) => (x as u64).into(),
            _ => Value::Number(number),
        },
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(values) => Value::Object(values.into_iter().map(|(name, value)| (name, plain(value))).collect()),
        _ => value,
    }
}

/// Whether two values are one for a filter.
pub(super) fn are_equal(a: &Value, b: &Value) -> bool {
    a == b || text_of(a) == text_of(b)
}

/// The entry point for fuzzing: a list of as many rows as it claims gives no more places than it has.
pub(crate) fn fuzz(bytes: &[u8]) -> bool {
    let Some(rows) = bytes.get(12..).and_then(|rest| rest.first_chunk()) else { return false };
    let Some(list) = Payloads::parse(bytes, u32::from_le_bytes(*rows)) else { return false };
    let found = [Value::from(1), Value::from("x"), Value::Null].map(|value| list.rows("a", &value).len());
    assert!(found.iter().all(|found| *found <= list.places.len()), "{found:?}");
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(payloads: &[&str]) -> Option<Vec<u8>> {
        let mut lister = Box::<Lister>::default();
        payloads.iter().for_each(|payload| lister.add(payload));
        lister.finish()
    }

    #[test]
    fn rows_are_found_by_name_and_value() {
        let bytes = list(&[r#"{"a":1,"b":"x"}"#, "", r#"{"a":1.0}"#, r#"{"b":"x","a":-0.0}"#, r#"{"a":[1,{"c":2}]}"#]);
        let bytes = bytes.unwrap();
        let list = Payloads::parse(&bytes, 5).unwrap();
        let rows = |name: &str, value: Value| list.rows(name, &value).collect::<Vec<_>>();
        assert_eq!(rows("b", json!("x")), [0, 3]);
        assert_eq!((rows("a", json!(1)), rows("a", json!(1.0))), (vec![0, 2], vec![0, 2]), "worth the same");
        assert_eq!((rows("a", json!(0)), rows("a", json!([1.0, {"c": 2.0}]))), (vec![3], vec![4]));
        assert!(are_equal(&json!({"a": [1e3]}), &json!({"a": [1000]})) && !are_equal(&json!(1), &json!("1")));
        assert!(are_equal(&json!(u64::MAX), &json!(u64::MAX)) && !are_equal(&json!(u64::MAX), &json!(u64::MAX - 1)));
        assert!(are_equal(&json!(1u64 << 63), &json!(I64_END)) && !are_equal(&json!(1.5), &json!(1)));
        assert_eq!((rows("b", json!("y")), rows("c", json!("x"))), (vec![], vec![]));
        assert!(Payloads::parse(&bytes, 4).is_none(), "of another segment");
    }

    #[test]
    fn bytes_that_are_no_list_are_refused_or_harmless() {
        let whole = list(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#]).unwrap();
        for at in 0..whole.len() {
            assert!(Payloads::parse(&whole[..at], 3).is_none(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                if let Some(list) = Payloads::parse(&bad, 3) {
                    assert!(list.rows("a", &json!(1)).len() <= 3 && list.rows("a", &json!(2)).len() <= 3);
                }
            }
        }
        assert_eq!(list(&["{}", "nonsense"]), None);
        assert!(Payloads::parse(&list(&[]).unwrap(), 0).is_some());
    }
}
