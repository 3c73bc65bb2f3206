//! Goal: a change reaches what it names and nothing else, all of a batch or none, and none is lost among others. Method: items
//! with a picture, compared whole before and after; and many threads that change one item at once.
#![allow(clippy::unwrap_used)]

mod common;

use common::{cellar, png};
use fromagerie::{Change, Collection, Content, Item, StoredItem};
use fromagerie_models::FakeModel;
use serde_json::{Map, Value, json};

const COLOURS: [(&str, [u8; 3]); 2] = [("red", [255, 0, 0]), ("blue", [0, 0, 255])];

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// The fake model's cellar, with an item that has all there is.
fn with_all() -> (common::Cellar, Collection) {
    let (cellar, collection) = cellar(FakeModel::default(), &COLOURS);
    let item = Item::image("green", png([0, 255, 0])).caption("a meadow").uri("file:///meadow.png");
    collection.insert(item.payload("year", 1999).payload("by.whom", "Ann").payload("draft", true)).unwrap();
    (cellar, collection)
}

/// `of` with another payload.
fn with_payload(mut of: StoredItem, payload: Value) -> StoredItem {
    of.document.payload = object(payload);
    of
}

#[test]
fn what_a_change_does_not_name_stays_as_it_is() {
    let (_cellar, collection) = with_all();
    for is_sealed in [false, true] {
        if is_sealed {
            collection.seal().unwrap();
        }
        let before = collection.require("green").unwrap();
        let others = [collection.require("red").unwrap(), collection.require("blue").unwrap()];
        collection.update(Change::of("green")).unwrap();
        assert_eq!(collection.require("green").unwrap(), before, "to the last bit of the vector");
        collection.update(Change::of("green").caption("a lawn").payload("year", 2001).without("draft")).unwrap();
        let mut expected = with_payload(before.clone(), json!({"year": 2001, "by.whom": "Ann"}));
        expected.document.caption = "a lawn".to_owned();
        assert_eq!(collection.require("green").unwrap(), expected);
        collection.update(Change::of("green").without("year").without("nothing").payload("year", 5)).unwrap();
        assert_eq!(collection.require("green").unwrap().document.payload["year"], 5, "the last word counts");
        collection.update(Change::of("green").only_payload(object(json!({"only": [1, null]})))).unwrap();
        expected = with_payload(expected, json!({"only": [1, null]}));
        assert_eq!(collection.require("green").unwrap(), expected);
        collection.update(Change::of("green").caption("").uri("")).unwrap();
        (expected.document.caption, expected.document.uri) = (String::new(), String::new());
        assert_eq!(collection.require("green").unwrap(), expected);
        assert_eq!([collection.require("red").unwrap(), collection.require("blue").unwrap()], others);
        assert_eq!(collection.len(), 3);
        let back = Change::of("green").caption("a meadow").uri("file:///meadow.png");
        let payload = json!({"year": 1999, "by.whom": "Ann", "draft": true});
        collection.update(back.only_payload(object(payload))).unwrap();
        assert_eq!(collection.require("green").unwrap(), before);
    }
}

#[test]
fn a_change_is_found_by_filters_and_searches_at_once() {
    let (_cellar, collection) = with_all();
    collection.seal().unwrap();
    collection.update(Change::of("red").payload("year", 1999)).unwrap();
    collection.update(Change::of("green").payload("year", 2000)).unwrap();
    let found = collection.list("", 10, &object(json!({"year": 1999}))).unwrap();
    assert_eq!(found.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["red"]);
    let hits = collection.search(fromagerie::Query::image(png([250, 0, 0])), 3).unwrap();
    assert_eq!(hits[0].key, "red");
    assert_eq!(hits[0].document.payload, object(json!({"year": 1999})));
    assert_eq!(hits.len(), 3, "no item twice");
}

#[test]
fn another_picture_brings_its_own_facts_and_keeps_the_words() {
    let (cellar, collection) = with_all();
    let before = collection.require("green").unwrap();
    let blue = collection.require("blue").unwrap();
    collection.update(Change::of("green").content(Content::Image(png([0, 0, 255])))).unwrap();
    let after = collection.require("green").unwrap();
    assert_eq!((&after.vector, &after.features), (&blue.vector, &blue.features));
    assert_eq!(after.document.content_hash, blue.document.content_hash);
    assert_eq!(after.document.thumbnail, blue.document.thumbnail);
    assert_eq!((after.document.caption, after.document.uri), (before.document.caption, before.document.uri));
    assert_eq!(after.document.payload, before.document.payload);
    let mut vector = vec![0.0; collection.dim()];
    vector[1] = 2.0;
    collection.update(Change::of("green").content(Content::Vector(vector)).without("year")).unwrap();
    let after = collection.require("green").unwrap();
    assert_eq!((after.vector[1], after.document.content_hash, after.document.width), (1.0, None, 0));
    assert_eq!(after.document.payload, object(json!({"by.whom": "Ann", "draft": true})));
    drop(cellar);
}

#[test]
fn a_batch_makes_what_it_can_and_says_of_the_rest_why_not() {
    let (_cellar, collection) = with_all();
    let text = Content::Image(b"no picture".to_vec());
    let changes = || {
        vec![
            Change::of("red").payload("n", 1),
            Change::of("nobody").payload("n", 1),
            Change::of("red").payload("n", 2).payload("m", 3),
            Change::of("blue").content(text.clone()).caption("lost"),
            Change::of("blue").caption("x".repeat(100_000)),
            Change::of("red").caption("red as red"),
        ]
    };
    let updated = collection.update_many(changes(), Some("r".to_owned())).unwrap();
    let receipt = updated.receipt.unwrap();
    assert_eq!((receipt.put, receipt.replaced), (1, 1), "several changes of one item are one write");
    let failures: Vec<_> = updated.failures.iter().map(|(key, error)| (key.as_str(), error.reason())).collect();
    assert_eq!(failures, [("blue", "NOT_AN_IMAGE"), ("nobody", "UNKNOWN_KEY"), ("blue", "BAD_ITEM")]);
    let red = collection.require("red").unwrap().document;
    assert_eq!((red.caption.as_str(), red.payload), ("red as red", object(json!({"n": 2, "m": 3}))));
    assert_eq!(collection.require("blue").unwrap().document.caption, "blue");
    collection.update(Change::of("red").payload("n", 9)).unwrap();
    let repeat = collection.update_many(changes(), Some("r".to_owned())).unwrap();
    assert_eq!(repeat.receipt.unwrap(), receipt);
    assert_eq!(collection.require("red").unwrap().document.payload["n"], 9, "a repeat changes nothing");
    let error = collection.update(Change::of("nobody")).unwrap_err();
    assert_eq!(error.to_string(), "collection \"colours\" has no item with key \"nobody\"");
    let nothing = collection.update_many(vec![Change::of("nobody")], None).unwrap();
    assert!(nothing.receipt.is_none() && nothing.failures.len() == 1);
}

#[test]
fn numbers_stay_what_they_are_to_the_last_bit() {
    let (_cellar, collection) = with_all();
    let numbers = [3.28e215, 1.234_567_890_123_456_7e-12, 9.876_543_210_987_654e-9, -0.0, 5e-324, 0.1 + 0.2];
    let exact = |item: &StoredItem| -> Vec<u64> {
        let of = |value: &Value| value.as_f64().unwrap().to_bits();
        item.document.payload["numbers"].as_array().unwrap().iter().map(of).collect()
    };
    collection.update(Change::of("green").payload("numbers", numbers.to_vec())).unwrap();
    collection.update(Change::of("green").payload("large", u64::MAX)).unwrap();
    for n in 0..20 {
        collection.update(Change::of("green").caption(format!("{n}"))).unwrap();
    }
    let stored = collection.require("green").unwrap();
    assert_eq!(exact(&stored), numbers.map(f64::to_bits));
    assert_eq!(stored.document.payload["large"], u64::MAX);
}

#[test]
fn a_batch_over_more_bytes_than_are_written_at_once_is_refused_before_it_takes_them() {
    let (_cellar, collection) = with_all();
    let large = "x".repeat(1 << 20 >> 1);
    for tens in 0..27 {
        let item =
            |n| Item::vector(format!("{tens:02}{n}"), vec![1.0; collection.dim()]).payload("text", large.clone());
        collection.insert_many((0..10).map(item).collect(), None).unwrap();
    }
    let changes = |count| (0..count).map(|n| Change::of(format!("{n:03}")).caption("new")).collect();
    let error = collection.update_many(changes(270), None).unwrap_err();
    assert_eq!(error.reason(), "BATCH_TOO_LARGE", "{error}");
    assert_eq!(collection.require("000").unwrap().document.caption, "");
    assert_eq!(collection.update_many(changes(200), None).unwrap().receipt.unwrap().put, 200);
}

#[test]
fn changes_of_one_item_at_once_all_hold() {
    const EACH: usize = 40;
    let (_cellar, collection) = with_all();
    let before = collection.require("green").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let collection = &collection;
            scope.spawn(move || {
                for n in 0..EACH {
                    collection.update(Change::of("green").payload(format!("{thread}.{n}"), n)).unwrap();
                }
            });
        }
        for _ in 0..5 {
            collection.seal().unwrap();
        }
    });
    let after = collection.require("green").unwrap();
    assert_eq!(after.document.payload.len(), before.document.payload.len() + 4 * EACH);
    assert_eq!(with_payload(after, Value::Object(before.document.payload.clone())), before);
}
