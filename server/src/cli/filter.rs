//! Which items a command is about, by their payload.

use clap::Args;
use serde_json::{Map, Value};

/// Which items count.
#[derive(Args)]
pub(super) struct FilterArgs {
    /// Only items whose payload has this value at its top level: JSON, or else a string; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = named)]
    payload_equals: Vec<(String, Value)>,
}

impl FilterArgs {
    pub(super) fn payload_equals(self) -> Map<String, Value> {
        self.payload_equals.into_iter().collect()
    }
}

/// A name and a value: JSON, or else a string.
pub(super) fn named(given: &str) -> Result<(String, Value), String> {
    let (name, value) = given.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}
