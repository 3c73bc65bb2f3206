//! Goal: a collection keeps a bounded, fair sample of its queries and learns from it, and knows its own recall; and all of
//! that can be refused. Method: generated vectors, queries like text, exact searches by hand.
#![allow(clippy::unwrap_used)]

#[path = "common/vectors.rs"]
mod vectors;

use std::time::{Duration, Instant};

use fromagerie::{Error, NewCollection, Options};
use vectors::{again, fill, plain, recall, truth, vector};

const ROWS: usize = 9_000;
const DIM: usize = 32;

fn graph_bytes(plain: &fromagerie::Collection) -> u64 {
    plain.stats().parts.iter().find(|part| part.name == "graph").unwrap().bytes
}

#[test]
fn queries_are_kept_and_the_next_graph_learns_from_them() {
    let set = vectors::generated::set(ROWS, DIM, 600);
    let made = plain(DIM, NewCollection { queries_kept: Some(256), ..NewCollection::default() }, Options::default());
    fill(&made.plain, &set, |_| serde_json::Value::Null);
    made.plain.compact(&mut |_| {}).unwrap();
    let unlearned = graph_bytes(&made.plain);
    for query in &set.like_text {
        made.plain.search(vector(query), 10).unwrap();
    }
    let usage = made.plain.usage();
    assert_eq!((usage.queries_received, usage.queries_kept), (600, 256));
    let made = again(made, Options::default());
    let usage = made.plain.usage();
    assert_eq!((usage.queries_received, usage.queries_kept), (600, 256), "they survive the process");

    assert_eq!(made.plain.compact(&mut |_| {}).unwrap().dropped_rows, 0);
    assert_eq!(graph_bytes(&made.plain), unlearned, "nothing was dead, so nothing was made anew");
    made.plain.learn(vec![], &mut |_| {}).unwrap();
    assert!(graph_bytes(&made.plain) > unlearned, "links of their own for the answers of queries");
    let found =
        |query: &Vec<f32>| recall(&made.plain.search(vector(query), 10).unwrap(), &truth(&set, query, 10, |_| true));
    let mean = set.like_text.iter().map(found).sum::<f64>() / 600.0;
    assert!(mean >= 0.9, "{mean}");
    assert!(made.db.verify(&mut |_| {}).unwrap().is_clean());

    let wrong = made.plain.learn(vec![vec![1.0; DIM], vec![1.0; 3]], &mut |_| {}).unwrap_err();
    assert!(matches!(wrong, Error::WrongDim { expected: DIM, found: 3, .. }), "{wrong}");
    let learned = graph_bytes(&made.plain);
    made.plain.learn(set.like_rows.clone(), &mut |_| {}).unwrap();
    assert_eq!((graph_bytes(&made.plain), made.plain.usage().queries_kept), (learned, 256), "a file is not kept");
}

#[test]
fn who_wants_no_queries_kept_has_none_kept() {
    let set = vectors::generated::set(500, DIM, 50);
    let made = plain(DIM, NewCollection { queries_kept: Some(0), ..NewCollection::default() }, Options::default());
    fill(&made.plain, &set, |_| serde_json::Value::Null);
    set.like_text.iter().for_each(|query| drop(made.plain.search(vector(query), 10).unwrap()));
    assert_eq!(made.plain.usage().queries_kept, 0);
    let folder = made.folder.path().to_owned();
    let made = again(made, Options::default());
    assert_eq!(made.plain.usage().queries_kept, 0);
    let files = std::fs::read_dir(folder.join("collections")).unwrap().flatten();
    let hints = files.map(|dir| dir.path().join("hints.fmh")).find(|path| path.is_file());
    assert_eq!(hints, None, "no trace of a query on disk");
    let too_many =
        NewCollection { queries_kept: Some(65_537), dim: Some(2), vectors_only: true, ..NewCollection::default() };
    assert!(matches!(made.db.create_collection("other", too_many), Err(Error::OutOfRange { .. })));
}

#[test]
fn recall_is_known_and_honest() {
    let set = vectors::generated::set(ROWS, DIM, 400);
    let options = || Options { recall_budget: 1.0, ..Options::default() };
    let made = plain(DIM, NewCollection::default(), options());
    fill(&made.plain, &set, |_| serde_json::Value::Null);
    assert_eq!(made.plain.usage().recall, None);
    made.plain.search(vector(&set.like_text[0]), 10).unwrap();
    made.plain.compact(&mut |_| {}).unwrap();
    let (start, mut samples, mut asked, mut found) = (Instant::now(), 0, 0, 0.0);
    while samples < 60 && start.elapsed() < Duration::from_secs(60) {
        for query in &set.like_text {
            let narrow = fromagerie::Query { ef: Some(10), ..vector(query) };
            let hits = made.plain.search(narrow, 10).unwrap();
            if asked < set.like_text.len() {
                found += recall(&hits, &truth(&set, query, 10, |_| true));
                asked += 1;
            }
        }
        samples = made.plain.usage().recall.map_or(0, |recall| recall.samples);
    }
    let (true_recall, estimate) = (found / asked as f64, made.plain.usage().recall.unwrap());
    println!("true {true_recall:.4}, estimated {estimate:?}");
    assert!(estimate.samples >= 60 && estimate.low <= estimate.mean && estimate.mean <= estimate.high);
    // Wider than the interval: a test must not fail once in twenty runs.
    let room = 2.0 * (estimate.high - estimate.low);
    assert!((estimate.mean - true_recall).abs() <= room, "{true_recall} {estimate:?}");
    assert!(true_recall < 0.999, "the beam is narrow, so that there is something to estimate: {true_recall}");
    let made = again(made, options());
    assert!(made.plain.usage().recall.unwrap().samples >= 60, "it survives the process");

    let unwatched = plain(DIM, NewCollection::default(), Options { recall_budget: 0.0, ..Options::default() });
    fill(&unwatched.plain, &set, |_| serde_json::Value::Null);
    unwatched.plain.compact(&mut |_| {}).unwrap();
    set.like_text.iter().for_each(|query| drop(unwatched.plain.search(vector(query), 10).unwrap()));
    assert_eq!(unwatched.plain.usage().recall, None);
}

#[test]
fn a_batch_is_answered_as_its_searches_are() {
    let set = vectors::generated::set(ROWS, DIM, 100);
    let made = plain(DIM, NewCollection::default(), Options::default());
    fill(&made.plain, &set, |_| serde_json::Value::Null);
    made.plain.compact(&mut |_| {}).unwrap();
    let queries: Vec<_> = set.like_text.iter().enumerate().map(|(n, query)| (vector(query), 1 + n % 20)).collect();
    let batch = made.plain.search_batch(&queries, &|| false).unwrap();
    for ((query, limit), (hits, stats)) in queries.iter().zip(&batch) {
        assert_eq!(
            (hits, hits.len(), stats.graph_segments),
            (&made.plain.search(query.clone(), *limit).unwrap(), *limit, 1)
        );
    }
    assert!(made.plain.search_batch(&[], &|| false).unwrap().is_empty());
    assert!(
        matches!(made.plain.search_batch(&queries, &|| true), Err(Error::InBatch { error, .. }) if matches!(*error, Error::Cancelled))
    );
    let bad = [queries[0].clone(), (vector(&[1.0]), 3)];
    let error = made.plain.search_batch(&bad, &|| false).unwrap_err();
    assert!(error.to_string().starts_with("search 1 of the batch: ") && error.reason() == "WRONG_DIMENSION", "{error}");
}
