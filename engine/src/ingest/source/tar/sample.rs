//! One sample of a shard: the members that share a key.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::folder::PICTURE_ENDINGS;
use super::super::{Body, CAPTION_BYTES_MAX, Columns, Found, PAYLOAD_BYTES_MAX, Place, SourceError, is_url};
use super::members::{Member, Members};
use crate::bounds::PICTURE_BYTES_MAX;

/// Longest class that is read, in bytes.
const CLASS_BYTES_MAX: u64 = 1 << 10;

/// A sample as far as it was read.
#[derive(Default)]
pub(super) struct Sample {
    pub(super) key: String,
    /// Name and bytes.
    picture: Option<(String, Vec<u8>)>,
    caption: Option<String>,
    payload: Map<String, Value>,
    class: Option<Value>,
    /// Names of all members so far.
    names: Vec<String>,
    /// Endings of the members that were passed over.
    others: Vec<String>,
}

/// A member's key and ending: its name is split at the first dot of its last part, as webdataset does.
pub(super) fn split(name: &str) -> (&str, &str) {
    let last = name.rfind('/').map_or(0, |at| at + 1);
    match name[last..].find('.') {
        Some(dot) => (&name[..last + dot], &name[last + dot + 1..]),
        None => (name, ""),
    }
}

impl Sample {
    pub(super) fn new(key: &str) -> Sample {
        Sample { key: key.to_owned(), ..Sample::default() }
    }

    /// Whether a member of this very name is in it.
    pub(super) fn has(&self, member: &Member) -> bool {
        self.names.contains(&member.name)
    }

    /// Adds a member, reading it when it is wanted.
    pub(super) fn take(&mut self, member: &Member, members: &mut Members) -> Result<(), SourceError> {
        self.names.push(member.name.clone());
        let ending = split(&member.name).1.to_ascii_lowercase();
        let is_picture = PICTURE_ENDINGS.contains(&ending.as_str());
        if !member.is_plain {
            return Err(SourceError::unsupported(format!("{} is a link or a device, not a file", member.name)));
        }
        match ending.as_str() {
            _ if is_picture && self.picture.is_none() => {
                self.picture = Some((member.name.clone(), members.read(member, PICTURE_BYTES_MAX)?));
            }
            "txt" => self.caption = Some(text(members.read(member, CAPTION_BYTES_MAX)?, &member.name)?),
            "cls" => {
                let class = text(members.read(member, CLASS_BYTES_MAX)?, &member.name)?;
                self.class = Some(class.parse::<i64>().map_or(Value::String(class), Value::from));
            }
            "json" => {
                let bytes = members.read(member, PAYLOAD_BYTES_MAX)?;
                let object: Map<String, Value> = serde_json::from_slice(&bytes)
                    .map_err(|e| SourceError::damaged(format!("{} is no JSON object: {e}", member.name)))?;
                self.payload = object.into_iter().filter(|(_, value)| !value.is_null()).collect();
            }
            _ => self.others.push(ending),
        }
        Ok(())
    }

    /// The record that it makes.
    pub(super) fn found(mut self, path: &Path, place: Place, columns: &Columns) -> Result<Found, SourceError> {
        let Some((name, bytes)) = self.picture.take() else {
            return Err(SourceError::NoPicture { problem: self.what_it_has() });
        };
        let key = match &columns.key {
            Some(column) => self.text_of(column)?.ok_or_else(|| SourceError::NoColumn {
                path: path.to_owned(),
                wanted: format!("{column:?} in {}.json", self.key),
                columns: self.names(),
            })?,
            None => std::mem::take(&mut self.key),
        };
        let stated = self.text_of(columns.caption.as_deref().unwrap_or("caption"))?;
        let caption = match (columns.caption.is_some(), self.caption.take()) {
            (false, Some(own)) => own,
            _ => stated.unwrap_or_default(),
        };
        let url = self.payload.get("url").and_then(Value::as_str).filter(|url| is_url(url)).map(str::to_owned);
        if url.is_some() {
            self.payload.remove("url");
        }
        if self.payload.get("key").and_then(Value::as_str) == Some(key.as_str()) {
            self.payload.remove("key");
        }
        if let Some(class) = self.class {
            self.payload.insert("cls".to_owned(), class);
        }
        let uri = url.unwrap_or_else(|| format!("{}#{name}", path.display()));
        Ok(Found { key, body: Body::Bytes(bytes), caption, uri, payload: self.payload, place, content_hash: None })
    }

    /// The text or number under `name`, taken out of the payload.
    fn text_of(&mut self, name: &str) -> Result<Option<String>, SourceError> {
        match self.payload.get(name) {
            None => Ok(None),
            Some(Value::String(_)) => match self.payload.remove(name) {
                Some(Value::String(text)) => Ok(Some(text)),
                _ => Ok(None),
            },
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(SourceError::damaged(format!("{name:?} in its JSON is neither a text nor a number"))),
        }
    }

    fn names(&self) -> String {
        self.payload.keys().cloned().collect::<Vec<_>>().join(", ")
    }

    fn what_it_has(&self) -> String {
        let mut has = self.others.clone();
        has.extend(self.caption.is_some().then(|| "txt".to_owned()));
        has.extend((!self.payload.is_empty()).then(|| "json".to_owned()));
        format!("the sample has members of kind {has:?} only; wanted is one of {}", PICTURE_ENDINGS.join(", "))
    }
}

fn text(bytes: Vec<u8>, name: &str) -> Result<String, SourceError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => Err(SourceError::damaged(format!("{name} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_webdataset_does() {
        let cases =
            [("a/b.c/0001.seg.png", ("a/b.c/0001", "seg.png")), ("x", ("x", "")), ("../../e.jpg", ("../../e", "jpg"))];
        for (name, parts) in cases {
            assert_eq!(split(name), parts);
        }
    }
}
