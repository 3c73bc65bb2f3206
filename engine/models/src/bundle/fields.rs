//! How a configuration's fields are checked: each against what it may be, with the field named when it is not.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// What is wrong in a JSON file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON, a missing or unknown key, or a value of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A value outside of what the field may be.
    #[error("`{field}` is {found}; expected {expected}")]
    Field {
        /// Path of the field, such as `vision.feature_dim`.
        field: String,
        /// The value found.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A kind of model that this version cannot run.
    #[error("`architecture` is \"{found}\", which this version does not know; it knows: {}", known.join(", "))]
    Architecture {
        /// The architecture found.
        found: String,
        /// Those this version runs.
        known: Vec<&'static str>,
    },
    /// A variant that the bundle has not.
    #[error("the bundle has no variant \"{found}\"; {}", if known.is_empty() { "it was exported without any".to_owned() } else { format!("it has: {}", known.join(", ")) })]
    Variant {
        /// The variant asked for.
        found: String,
        /// Those of the bundle.
        known: Vec<String>,
    },
}

/// An error about one field.
pub(crate) fn wrong(field: &str, found: impl Display, expected: impl Display) -> ConfigError {
    ConfigError::Field { field: field.into(), found: shorten(found.to_string()), expected: expected.to_string() }
}

/// `value`, when it lies in `range`. A NaN lies nowhere.
pub(crate) fn in_range<T: PartialOrd + Display>(
    field: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(wrong(field, value, format_args!("{} to {}", range.start(), range.end())))
}

/// Checks that a field which has one supported value has it.
pub(crate) fn exactly<T: PartialEq + Display>(field: &str, value: T, expected: T) -> Result<(), ConfigError> {
    if value == expected { Ok(()) } else { Err(wrong(field, value, expected)) }
}

/// Quotes hostile input no longer than a person reads.
fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(120) {
        text.truncate(end);
        text.push('…');
    }
    text
}
