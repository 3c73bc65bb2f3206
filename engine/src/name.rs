//! Names of collections, aliases and sessions.

use crate::error::{Error, Result};

/// Names are part of file paths and of command lines.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if starts_well && is_plain && name.len() <= 64 {
        return Ok(());
    }
    Err(Error::BadName { what, name: name.chars().take(80).collect() })
}
