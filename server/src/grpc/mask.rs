//! Field masks: which parts of an item a request speaks of.

use fromagerie::{Change, Content};
use fromagerie_proto::v1;
use prost_types::FieldMask;
use serde_json::{Map, Value};
use tonic::Status;

use super::convert;
use super::status::{bad, missing};

const PAYLOAD_OF: &str = "payload.";

/// What `item` changes: what `mask` names, or all that the item has set when it names nothing.
pub(super) fn change(item: v1::Item, mask: Option<&FieldMask>) -> Result<Change, Status> {
    let payload = item.payload.map(convert::object).unwrap_or_default();
    let mut change = Change::of(item.key);
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
        change.caption = Some(item.caption).filter(|caption| !caption.is_empty());
        change.uri = Some(item.uri).filter(|uri| !uri.is_empty());
        change.payload = payload.into_iter().map(|(name, value)| (name, Some(value))).collect();
        change.content = item.content.map(convert::content_of);
        return Ok(change);
    };
    // The whole first: parts of it that are named too are in it anyway.
    if mask.paths.iter().any(|path| path == "payload") {
        change = change.only_payload(payload.clone());
    }
    for path in &mask.paths {
        match path.as_str() {
            "caption" => change.caption = Some(item.caption.clone()),
            "uri" => change.uri = Some(item.uri.clone()),
            "payload" => {}
            "image" | "vector" => change.content = Some(named_content(item.content.as_ref(), path)?),
            path => change.payload.push(one_value(path, &payload)?),
        }
    }
    Ok(change)
}

/// The value of the payload that a path names.
fn one_value(path: &str, payload: &Map<String, Value>) -> Result<(String, Option<Value>), Status> {
    let Some(name) = path.strip_prefix(PAYLOAD_OF).map(unquoted).filter(|name| !name.is_empty()) else {
        let known = "caption, uri, payload, payload.NAME, image and vector";
        return Err(bad("update_mask", &format!("it names {path:?}; known are {known}. UpsertItems replaces an item")));
    };
    Ok((name.to_owned(), payload.get(name).cloned()))
}

/// Names with odd characters may stand in backticks.
fn unquoted(name: &str) -> &str {
    name.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(name)
}

fn named_content(given: Option<&v1::item::Content>, path: &str) -> Result<Content, Status> {
    match (given, path) {
        (Some(given @ v1::item::Content::Image(_)), "image")
        | (Some(given @ v1::item::Content::Vector(_)), "vector") => Ok(convert::content_of(given.clone())),
        _ => Err(missing("content", &format!("the mask names `{path}`, and an item has none"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        change(item(), Some(&mask)).map_err(|status| status.message().to_owned())
    }

    fn values(change: &Change) -> Vec<(&str, Option<&Value>)> {
        change.payload.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect()
    }

    #[test]
    fn a_mask_names_what_changes() {
        let change = masked(&["uri"]).expect("known");
        assert_eq!((change.uri.as_deref(), change.caption, change.payload.len()), (Some(""), None, 0));
        assert!(change.content.is_none() && !change.only_payload);
        let change = masked(&["caption", "payload.a", "payload.b.c", "payload.`b.c`", "payload.gone"]).expect("known");
        assert_eq!(change.caption.as_deref(), Some("words"));
        let (one, null) = (json!(1), Value::Null);
        assert_eq!(
            values(&change),
            [("a", Some(&one)), ("b.c", Some(&null)), ("b.c", Some(&null)), ("gone", None)],
            "what the item lacks is removed"
        );
        assert!(!change.only_payload);
        let change = masked(&["payload.gone", "payload", "vector"]).expect("known");
        assert!(change.only_payload && matches!(change.content, Some(Content::Vector(_))));
        assert_eq!(values(&change), [("a", Some(&one)), ("b.c", Some(&null)), ("gone", None)]);
    }

    #[test]
    fn no_mask_is_all_that_is_set() {
        for mask in [None, Some(&FieldMask::default())] {
            let change = change(item(), mask).expect("nothing to refuse");
            assert_eq!((change.caption.as_deref(), change.uri, change.payload.len()), (Some("words"), None, 2));
            assert!(change.content.is_some() && !change.only_payload);
        }
    }

    #[test]
    fn what_no_item_has_is_refused_by_name() {
        for path in ["*", "key", "width", "payload.", "payload.``", "payloads.a", ""] {
            let says = masked(&["caption", path]).expect_err(path);
            assert!(says.contains(&format!("{path:?}")) && says.contains("payload.NAME"), "{says}");
        }
        assert!(masked(&["image"]).expect_err("a vector").contains("names `image`"));
    }
}
