//! Goal: many small writes that are not sealed for long are searched by a graph that grows behind them, and no answer shows
//! it: not while rows are written, deleted and replaced, not when the process starts anew, not when all is sealed. Method:
//! generated vectors, searches beside the writer, exact searches by hand.
#![allow(clippy::unwrap_used)]

#[path = "common/vectors.rs"]
mod vectors;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fromagerie::{Collection, NewCollection, Options, Query, StoreOptions};
use serde_json::{Value, json};
use vectors::{Set, again, item, plain, recall, truth, vector};

const ROWS: usize = 6_000;
const DIM: usize = 32;

fn options() -> Options {
    let storage = StoreOptions { seal_rows: 1 << 20, ..StoreOptions::default() };
    Options { storage, memory_graph_rows: 1_000, ..Options::default() }
}

/// Mean recall@10 of all queries, and how many of them walked a graph.
fn measure(plain: &Collection, set: &Set, dead: &HashSet<usize>) -> (f64, usize) {
    let (mut sum, mut walked) = (0.0, 0);
    for query in &set.like_text {
        let (hits, stats) = plain.search_with(&vector(query), 10, &|| false).unwrap();
        assert!(hits.len() == 10 && hits.iter().all(|hit| !dead.contains(&hit.key.parse().unwrap())));
        let truth = truth(set, query, 10, |n| !dead.contains(&n));
        let exact = plain.search(vector(query).exact(), 10).unwrap();
        assert_eq!(recall(&exact, &truth), 1.0);
        sum += recall(&hits, &truth);
        walked += usize::from(stats.graph_segments > 0);
    }
    (sum / set.like_text.len() as f64, walked)
}

/// Searches until the graph has grown over what is there.
fn settle(plain: &Collection, set: &Set) {
    let start = Instant::now();
    let walks = || plain.search_with(&vector(&set.like_text[0]), 10, &|| false).unwrap().1.graph_segments > 0;
    while !walks() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(walks(), "no graph after a minute");
}

#[test]
fn small_writes_are_found_by_a_growing_graph() {
    let set = vectors::generated::set(ROWS, DIM, 60);
    let made = plain(DIM, NewCollection::default(), options());
    let row = |n: usize| &set.data[n * DIM..(n + 1) * DIM];
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (searches, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut dead = HashSet::new();
    std::thread::scope(|scope| {
        for searcher in 0..2 {
            let (plain, set, done, written) = (&made.plain, &set, &done, &written);
            let (searches, missed) = (&searches, &missed);
            scope.spawn(move || {
                for query in set.like_text.iter().cycle().skip(searcher * 7) {
                    // What was there before the search, and is never deleted, must be found if it is near enough.
                    let before = written.load(Ordering::SeqCst);
                    let hits = plain.search(vector(query), 10).unwrap();
                    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
                    let keys: HashSet<&str> = hits.iter().map(|hit| hit.key.as_str()).collect();
                    assert_eq!(keys.len(), hits.len(), "no item twice");
                    if before > 100 {
                        let near = truth(set, query, 1, |n| n < before && n % 10 != 3 && n % 10 != 4);
                        let is_found = keys.contains(near[0].0.as_str());
                        missed.fetch_add(usize::from(!is_found && near[0].1 > hits[9].score), Ordering::Relaxed);
                    }
                    searches.fetch_add(1, Ordering::Relaxed);
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        for start in (0..ROWS).step_by(20) {
            let items = (start..start + 20).map(|n| item(n, row(n), json!({"tenth": n % 10})));
            made.plain.insert_many(items.collect(), None).unwrap();
            written.store(start + 20, Ordering::SeqCst);
            if start % 100 == 0 && start > 0 {
                let gone: Vec<usize> = (start - 100..start).filter(|n| n % 10 == 3).collect();
                made.plain.delete(gone.iter().map(ToString::to_string), None).unwrap();
                dead.extend(gone);
                let changed = (start - 100..start).filter(|n| n % 10 == 4);
                made.plain.insert_many(changed.map(|n| item(n, row(n), Value::Null)).collect(), None).unwrap();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    settle(&made.plain, &set);
    assert_eq!((made.plain.len(), made.plain.sealed_segments()), (ROWS - dead.len(), 0));
    let (found, walked) = measure(&made.plain, &set, &dead);
    let (searches, missed) = (searches.into_inner(), missed.into_inner());
    println!(
        "grown beside {searches} searches, {missed} of which missed the best: recall@10 {found:.4}, {walked} of 60 walked"
    );
    assert!(missed * 20 <= searches, "{missed} of {searches} missed the best item");
    assert!(found >= 0.95 && walked == 60, "{found}, {walked}");

    let tenth = |n: usize| n % 10 == 7;
    for query in &set.like_text[..20] {
        let filter = json!({"tenth": 7}).as_object().cloned().unwrap();
        let hits = made.plain.search(Query { payload_equals: filter, ..vector(query) }, 10).unwrap();
        assert_eq!(recall(&hits, &truth(&set, query, 10, tenth)), 1.0);
    }
    let shown: Vec<String> = (0..ROWS).filter(|n| n % 2 == 0).map(|n| n.to_string()).collect();
    let odd = truth(&set, &set.like_text[0], 10, |n| n % 2 == 1 && !dead.contains(&n));
    let hits = made.plain.search(vector(&set.like_text[0]).without(shown), 10).unwrap();
    assert!(recall(&hits, &odd) >= 0.8 && hits.iter().all(|hit| hit.key.parse::<usize>().unwrap() % 2 == 1));

    let made = again(made, options());
    settle(&made.plain, &set);
    let (found, walked) = measure(&made.plain, &set, &dead);
    println!("after a restart: recall@10 {found:.4}, {walked} of 60 walked");
    assert!(found >= 0.95 && walked == 60, "{found}, {walked}");
    made.plain.seal().unwrap();
    assert_eq!(made.plain.sealed_segments(), 1);
    assert!(measure(&made.plain, &set, &dead).0 >= 0.95, "sealed below the graph's feet");
}
