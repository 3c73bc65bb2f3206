//! Goal: pages of items are all items, in the order of their keys, each once, whatever segment they are in and whatever filter
//! is asked for. Method: a map of what was written.
#![allow(clippy::unwrap_used)]

#[path = "common/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;

use fromagerie::{Collection, Error, NewCollection, Options};
use serde_json::{Map, Value, json};
use vectors::{item, plain};

/// All pages of `size`: keys and what their payloads say.
fn pages(plain: &Collection, size: usize, filter: &Value) -> Vec<(String, i64)> {
    let filter: Map<String, Value> = filter.as_object().cloned().unwrap();
    let (mut after, mut all) = (String::new(), Vec::new());
    loop {
        let page = plain.list(&after, size, &filter).unwrap();
        assert!(page.len() <= size);
        let Some(last) = page.last() else { return all };
        after.clone_from(&last.key);
        all.extend(page.iter().map(|item| (item.key.clone(), item.document.payload["round"].as_i64().unwrap())));
    }
}

#[test]
fn pages_are_all_items_in_the_order_of_keys() {
    let made = plain(2, NewCollection::default(), Options::default());
    assert!(made.plain.list("", 5, &Map::new()).unwrap().is_empty());
    let mut map: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..4 {
        let numbers = (0..120).map(|n| (n * 7 + round * 31) % 300);
        let items = numbers.map(|n| item(n, &[n as f32 + 1.0, 1.0], json!({"round": round, "even": n % 2 == 0})));
        let items: Vec<_> = items.collect();
        map.extend(items.iter().map(|item| (item.key.clone(), round as i64)));
        made.plain.insert_many(items, None).unwrap();
        let gone: Vec<String> = map.keys().skip(round).step_by(17).cloned().collect();
        map.retain(|key, _| !gone.contains(key));
        made.plain.delete(gone, None).unwrap();
        for is_sealed in [false, true] {
            // The last round stays in memory.
            if is_sealed && round < 3 {
                made.plain.seal().unwrap();
            }
            let expected = |keep: &dyn Fn(&str, i64) -> bool| -> Vec<_> {
                map.iter().filter(|(key, round)| keep(key, **round)).map(|(k, r)| (k.clone(), *r)).collect()
            };
            for size in [1, 7, 1000] {
                assert_eq!(pages(&made.plain, size, &json!({})), expected(&|_, _| true), "round {round}, {size}");
            }
            let even = |key: &str| key.parse::<usize>().unwrap() % 2 == 0;
            assert_eq!(pages(&made.plain, 5, &json!({"even": true})), expected(&|key, _| even(key)));
            let both = json!({"even": false, "round": 0});
            assert_eq!(pages(&made.plain, 5, &both), expected(&|key, round| !even(key) && round == 0));
        }
    }
    let behind = made.plain.list("zzz", 5, &Map::new()).unwrap();
    assert!(behind.is_empty(), "{behind:?}");
    for limit in [0, 1001] {
        let error = made.plain.list("", limit, &Map::new()).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { name: "limit", .. }), "{error}");
    }
}
