//! Goal: a filter lets exactly those rows through whose payload agrees, wherever they lie, and the nearest of them are found.
//! Method: generated vectors with payloads in sealed segments, in memory, deleted and replaced; an exact search by hand.
#![allow(clippy::unwrap_used)]

#[path = "common/vectors.rs"]
mod vectors;

use std::collections::HashSet;
use std::time::Duration;

use fromagerie::{Collection, Error, NewCollection, Options, Query, StoreOptions};
use serde_json::{Value, json};
use vectors::{Set, again, fill, item, plain, recall, truth, vector};

const ROWS: usize = 12_000;
const DIM: usize = 32;

/// Shares of one in 2, 10, 100 and 1,000 by number, and one by where the row lies.
fn payload(n: usize, row: &[f32]) -> Value {
    json!({"half": n % 2, "tenth": (n / 2) % 10, "hundredth": format!("h{}", n % 100), "thousandth": n % 1000,
           "side": row[0] > 0.05, "list": [n % 3, {"deep": true}]})
}

fn asked(query: &[f32], filter: &Value) -> Query {
    Query { payload_equals: filter.as_object().cloned().unwrap(), ..vector(query) }
}

/// Which rows agree with a filter.
fn agreeing(set: &Set, filter: &Value) -> Vec<bool> {
    let payloads = set.data.chunks(DIM).enumerate().map(|(n, row)| payload(n, row));
    payloads
        .map(|payload| filter.as_object().unwrap().iter().all(|(name, value)| payload.get(name) == Some(value)))
        .collect()
}

/// Mean recall@10 over `queries`; every hit must agree, be live, and exact searches must find all.
fn check(plain: &Collection, set: &Set, queries: &[Vec<f32>], filter: &Value, dead: &HashSet<usize>) -> f64 {
    let mut sum = 0.0;
    let agrees = agreeing(set, filter);
    for query in queries {
        let truth = truth(set, query, 10, |n| agrees[n] && !dead.contains(&n));
        let hits = plain.search(asked(query, filter), 10).unwrap();
        for hit in &hits {
            let n: usize = hit.key.parse().unwrap();
            assert!(agrees[n] && !dead.contains(&n), "{filter}: {n}");
        }
        assert_eq!(hits.len(), truth.len(), "{filter}");
        sum += recall(&hits, &truth);
        let exact = plain.search(asked(query, filter).exact(), 10).unwrap();
        assert_eq!(recall(&exact, &truth), 1.0, "{filter}, exactly");
    }
    sum / queries.len() as f64
}

#[test]
fn filters_of_every_width_find_the_nearest_rows_that_agree() {
    let set = vectors::generated::set(ROWS, DIM, 8);
    let made = plain(DIM, NewCollection::default(), Options::default());
    fill(&made.plain, &set, |n| payload(n, &set.data[n * DIM..(n + 1) * DIM]));
    made.plain.compact(&mut |_| {}).unwrap();
    let filters = [
        json!({"half": 1}),
        json!({"tenth": 3}),
        json!({"hundredth": "h7"}),
        json!({"thousandth": 123}),
        json!({"side": true}),
        json!({"list": [1, {"deep": true}]}),
        json!({"half": 0, "tenth": 4, "side": false}),
        json!({"thousandth": 5, "hundredth": "h6"}),
        json!({"nothing": 1}),
        json!({"half": "1"}),
        json!({"half": null}),
    ];
    let mut dead = HashSet::new();
    for round in 0..4 {
        for filter in &filters {
            for (kind, queries) in [("like rows", &set.like_rows), ("like text", &set.like_text)] {
                let recall = check(&made.plain, &set, queries, filter, &dead);
                println!("round {round}, {filter}, {kind}: recall@10 {recall:.3}");
                assert!(recall >= 0.9, "round {round}, {filter}, {kind}: {recall}");
            }
        }
        match round {
            // A third of what agrees with one filter dies.
            0 => {
                let gone: Vec<usize> = (0..ROWS).filter(|n| n % 100 == 7 && n % 3 == 0).collect();
                made.plain.delete(gone.iter().map(ToString::to_string), None).unwrap();
                dead.extend(gone);
            }
            // Replaced rows lie in memory.
            1 => {
                for n in (0..ROWS).step_by(37).filter(|n| !dead.contains(n)) {
                    let row = &set.data[n * DIM..(n + 1) * DIM];
                    made.plain.insert(item(n, row, payload(n, row))).unwrap();
                }
            }
            _ => drop(made.plain.compact(&mut |_| {}).unwrap()),
        }
    }
    assert!(made.db.verify(&mut |_| {}).unwrap().is_clean());
}

#[test]
fn a_value_that_changes_is_filtered_by_what_it_is_now() {
    let made = plain(2, NewCollection::default(), Options::default());
    let put = |value: Value| made.plain.insert(item(1, &[1.0, 0.0], json!({"v": value}))).unwrap();
    let found = |value: Value| made.plain.search(asked(&[1.0, 0.0], &json!({"v": value})), 5).unwrap().len();
    for (now, before) in
        [(json!(1), json!(0)), (json!("x"), json!(1)), (json!(1.5), json!("x")), (json!({"a": 1}), json!(1.5))]
    {
        put(now.clone());
        assert_eq!((found(now.clone()), found(before.clone())), (1, 0), "in memory");
        made.plain.seal().unwrap();
        assert_eq!((found(now), found(before)), (1, 0), "sealed");
    }
}

/// Over the wire all numbers are floats, and tables have floats where people write whole numbers.
#[test]
fn numbers_are_what_they_are_worth() {
    let made = plain(2, NewCollection::default(), Options::default());
    for (n, value) in [json!(1), json!(1.0), json!(-0.0), json!([2.0]), json!("1"), json!(1.5)].into_iter().enumerate()
    {
        made.plain.insert(item(n, &[1.0, 0.0], json!({"v": value}))).unwrap();
    }
    let found = |value: Value| {
        let hits = made.plain.search(asked(&[1.0, 0.0], &json!({"v": value})), 9).unwrap();
        let mut keys: Vec<String> = hits.into_iter().map(|hit| hit.key).collect();
        keys.sort();
        keys.concat()
    };
    for is_sealed in [false, true] {
        let asked = [json!(1), json!(1.0), json!(0), json!([2]), json!("1"), json!(1.5), json!(2)];
        assert_eq!(asked.map(found), ["01", "01", "2", "3", "4", "5", ""], "sealed: {is_sealed}");
        made.plain.seal().unwrap();
    }
}

#[test]
fn a_damaged_list_costs_time_and_no_answer() {
    let set = vectors::generated::set(400, DIM, 5);
    let made = plain(DIM, NewCollection::default(), Options::default());
    fill(&made.plain, &set, |n| json!({"half": n % 2}));
    made.plain.seal().unwrap();
    let before = made.plain.search(asked(&set.like_text[0], &json!({"half": 1})), 10).unwrap();
    let folder = made.folder.path().to_owned();
    let options = || Options {
        storage: StoreOptions { seal_rest: Duration::ZERO, ..StoreOptions::default() },
        ..Options::default()
    };
    let Ok(collection) = std::fs::read_dir(folder.join("collections")).unwrap().next().unwrap() else { panic!("none") };
    let segment = std::fs::read_dir(collection.path()).unwrap().flatten().map(|entry| entry.path());
    let segment = segment.into_iter().find(|path| path.extension().is_some_and(|e| e == "fms")).unwrap();
    let made = {
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(8).position(|window| window == b"FRMPAYLD").unwrap();
        bytes[at + 70] ^= 1;
        std::fs::write(&segment, bytes).unwrap();
        again(made, options())
    };
    assert!(!made.db.verify(&mut |_| {}).unwrap().is_clean(), "the damage is named");
    assert_eq!(made.plain.search(asked(&set.like_text[0], &json!({"half": 1})), 10).unwrap(), before);
}

#[test]
fn limits_by_score_exclusions_and_cancelling_hold_on_a_graph() {
    let set = vectors::generated::set(ROWS, DIM, 20);
    let made = plain(DIM, NewCollection::default(), Options::default());
    fill(&made.plain, &set, |_| Value::Null);
    made.plain.compact(&mut |_| {}).unwrap();
    let mut found = 0.0;
    for query in &set.like_text {
        let (best, stats) = made.plain.search_with(&vector(query), 20, &|| false).unwrap();
        assert_eq!((best.len(), stats.graph_segments), (20, 1));
        let least = best[7].score;
        let near = made.plain.search(Query { score_min: Some(least), ..vector(query) }, 20).unwrap();
        assert_eq!(near, best[..near.len()], "a range by score is the head of the answer");
        assert!(near.len() >= 8 && near.iter().all(|hit| hit.score >= least));
        assert!(made.plain.search(Query { score_min: Some(1.0), ..vector(query) }, 20).unwrap().is_empty());

        let shown: Vec<String> = best[..5].iter().map(|hit| hit.key.clone()).collect();
        let others = made.plain.search(vector(query).without(shown.clone()), 15).unwrap();
        assert!(others.len() == 15 && others.iter().all(|hit| !shown.contains(&hit.key)));
        let truth = truth(&set, query, 15, |n| !shown.contains(&n.to_string()));
        found += recall(&others, &truth) / 20.0;
    }
    assert!(found >= 0.87, "without what was shown: {found}");
    let polls = std::cell::Cell::new(0);
    let soon = || {
        polls.set(polls.get() + 1);
        polls.get() > 2
    };
    let stopped = made.plain.search_with(&Query { ef: Some(4000), ..vector(&set.like_text[0]) }, 100, &soon);
    assert!(
        matches!(stopped, Err(Error::Cancelled)) && polls.get() == 3,
        "the walk asks, and stops at once: {}",
        polls.get()
    );
    polls.set(0);
    let stopped = made.plain.search_with(&vector(&set.like_text[0]).exact(), 100, &soon);
    assert!(matches!(stopped, Err(Error::Cancelled)) && polls.get() == 3, "so does a scan: {}", polls.get());
}
