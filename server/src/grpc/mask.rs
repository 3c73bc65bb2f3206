//! Field masks: which parts of an item a request speaks of.

use std::collections::BTreeSet;

use fromagerie::{Change, Content};
use fromagerie_proto::v1;
use prost_types::FieldMask;
use tonic::Status;

use super::convert;
use super::status::{bad, missing};

/// Most values of payloads that a request names: names times items.
const VALUES_MAX: usize = 1_000_000;

/// What a request names, the same for each of its items.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mask {
    /// It names nothing: all that an item has set is meant.
    is_empty: bool,
    caption: bool,
    uri: bool,
    /// `image` or `vector`.
    content: Option<&'static str>,
    payload: bool,
    payload_names: BTreeSet<String>,
}

impl Mask {
    /// # Errors
    /// A path that no item has, or more of them than may be named for so many items.
    pub(super) fn of(mask: Option<&FieldMask>, items: usize) -> Result<Mask, Status> {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        let mut named = Mask { is_empty: paths.is_empty(), ..Mask::default() };
        for path in paths {
            match path.as_str() {
                "caption" => named.caption = true,
                "uri" => named.uri = true,
                "payload" => named.payload = true,
                "image" => named.content = Some("image"),
                "vector" => named.content = Some("vector"),
                path => drop(named.payload_names.insert(payload_name(path)?)),
            }
        }
        let names = named.payload_names.len();
        if names.saturating_mul(items) > VALUES_MAX {
            let problem =
                format!("it names {names} values of each of {items} items; at most {VALUES_MAX} in one request");
            return Err(bad("update_mask", &problem));
        }
        Ok(named)
    }

    /// What of `item` changes.
    ///
    /// # Errors
    /// A picture or a vector that is named, of an item that has none.
    pub(super) fn change(&self, item: v1::Item) -> Result<Change, Status> {
        let mut payload = item.payload.map(convert::object).unwrap_or_default();
        let mut change = Change::of(item.key);
        if self.is_empty {
            change.caption = Some(item.caption).filter(|caption| !caption.is_empty());
            change.uri = Some(item.uri).filter(|uri| !uri.is_empty());
            change.payload = payload.into_iter().map(|(name, value)| (name, Some(value))).collect();
            change.content = item.content.map(convert::content_of);
            return Ok(change);
        }
        change.caption = self.caption.then_some(item.caption);
        change.uri = self.uri.then_some(item.uri);
        if let Some(named) = self.content {
            change.content = Some(named_content(item.content, named, &change.key)?);
        }
        match self.payload {
            true => change = change.only_payload(payload),
            false => {
                change.payload = self.payload_names.iter().map(|name| (name.clone(), payload.remove(name))).collect();
            }
        }
        Ok(change)
    }
}

/// The name at the payload's top level that a path means.
fn payload_name(path: &str) -> Result<String, Status> {
    let name = path.strip_prefix("payload.").unwrap_or_default();
    let quoted = name.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    match quoted {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        None if !name.is_empty() && !name.contains('.') => Ok(name.to_owned()),
        _ => {
            let known =
                "caption, uri, image, vector, payload, and payload.NAME (of its top level; with dots: payload.`A.B`)";
            Err(bad("update_mask", &format!("it names {path:?}; known are {known}. UpsertItems replaces an item")))
        }
    }
}

fn named_content(given: Option<v1::item::Content>, named: &str, key: &str) -> Result<Content, Status> {
    match (given, named) {
        (Some(given @ v1::item::Content::Image(_)), "image")
        | (Some(given @ v1::item::Content::Vector(_)), "vector") => Ok(convert::content_of(given)),
        _ => Err(missing("content", &format!("the mask names `{named}`, and item {key:?} has none"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn item() -> v1::Item {
        let payload = json!({"a": 1, "b.c": null});
        v1::Item {
            key: "k".to_owned(),
            caption: "words".to_owned(),
            payload: convert::structure(payload.as_object().cloned().unwrap_or_default()),
            content: Some(v1::item::Content::Vector(v1::Vector { values: vec![1.0] })),
            ..v1::Item::default()
        }
    }

    fn masked(paths: &[&str]) -> Result<Change, String> {
        let mask = FieldMask { paths: paths.iter().map(ToString::to_string).collect() };
        let change = Mask::of(Some(&mask), 500).and_then(|mask| mask.change(item()));
        change.map_err(|status| status.message().to_owned())
    }

    fn values(change: &Change) -> Vec<(&str, Option<&Value>)> {
        change.payload.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect()
    }

    #[test]
    fn a_mask_names_what_changes() {
        let change = masked(&["uri"]).expect("known");
        assert_eq!((change.uri.as_deref(), change.caption, change.payload.len()), (Some(""), None, 0));
        assert!(change.content.is_none() && !change.only_payload);
        let change = masked(&["caption", "payload.gone", "payload.a", "payload.`b.c`", "payload.a"]).expect("known");
        assert_eq!(change.caption.as_deref(), Some("words"));
        let (one, null) = (json!(1), Value::Null);
        let expected = [("a", Some(&one)), ("b.c", Some(&null)), ("gone", None)];
        assert_eq!(values(&change), expected, "what the item lacks is removed");
        assert!(!change.only_payload);
        let change = masked(&["payload.gone", "payload", "vector"]).expect("known");
        assert!(change.only_payload && matches!(change.content, Some(Content::Vector(_))));
        assert_eq!(values(&change), [("a", Some(&one)), ("b.c", Some(&null))]);
    }

    #[test]
    fn no_mask_is_all_that_is_set() {
        for mask in [None, Some(&FieldMask::default())] {
            let change = Mask::of(mask, 1).and_then(|mask| mask.change(item())).expect("nothing to refuse");
            assert_eq!((change.caption.as_deref(), change.uri, change.payload.len()), (Some("words"), None, 2));
            assert!(change.content.is_some() && !change.only_payload);
        }
    }

    #[test]
    fn what_no_item_has_is_refused_by_name() {
        for path in ["*", "key", "width", "payload.", "payload.``", "payload.a.b", "payloads.a", ""] {
            let says = masked(&["caption", path]).expect_err(path);
            assert!(says.contains(&format!("{path:?}")) && says.contains("payload.NAME"), "{says}");
        }
        assert!(masked(&["image"]).expect_err("a vector").contains("names `image`, and item \"k\" has none"));
        let names: Vec<String> = (0..=2000).map(|n| format!("payload.{n}")).collect();
        let many = masked(&names.iter().map(String::as_str).collect::<Vec<_>>()).expect_err("too many");
        assert!(many.contains("2001 values of each of 500 items"), "{many}");
    }
}
