//! Goal: hits that are kept apart are those that a plain reading of the rule chooses, from segments and from memory, and are
//! as many as were asked for. Method: pictures in bursts of nearly the same, and the rule over all rows, by hand.
#![allow(clippy::unwrap_used)]

#[path = "common/vectors.rs"]
mod vectors;

use fromagerie::{Collection, Error, Hit, NewCollection, Options, Query, Spread, VectorType};
use fromagerie_kernels::dot;
use vectors::{Set, fill, generated, plain, vector};

const DIM: usize = 24;
const BURST: usize = 6;

/// Pictures in bursts: each of `rows` and, beside it, others that differ by little.
fn bursts(rows: usize) -> Set {
    let mut set = generated::set(rows, DIM, 12);
    let single = std::mem::take(&mut set.data);
    for (number, row) in single.chunks(DIM).enumerate() {
        for shot in 0..BURST {
            let moved: Vec<f32> =
                row.iter().enumerate().map(|(at, x)| if (at + number) % DIM == shot { x + 0.02 } else { *x }).collect();
            let norm = dot(&moved, &moved).sqrt();
            set.data.extend(moved.iter().map(|x| x / norm));
        }
    }
    set
}

/// The rule: over all rows, best first, one after the other.
fn by_hand(set: &Set, query: &[f32], limit: usize, spread: Spread, excluded: &[usize]) -> Vec<usize> {
    let row = |n: usize| &set.data[n * DIM..][..DIM];
    let mut open: Vec<usize> = (0..set.data.len() / DIM).filter(|n| !excluded.contains(n)).collect();
    open.sort_by(|a, b| dot(query, row(*b)).total_cmp(&dot(query, row(*a))).then(a.cmp(b)));
    if spread.diversity > 0.0 {
        open.truncate((10 * limit).max(100));
    }
    let least = spread.near_duplicates.unwrap_or(f32::INFINITY);
    open.retain(|n| excluded.iter().all(|other| dot(row(*n), row(*other)) < least));
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < limit {
        let value = |n: usize| {
            let likeness = chosen.iter().map(|other| dot(row(n), row(*other))).fold(f32::MIN, f32::max);
            match chosen.is_empty() {
                true => dot(query, row(n)),
                false => (1.0 - spread.diversity) * dot(query, row(n)) - spread.diversity * likeness,
            }
        };
        let Some(best) = open.iter().copied().reduce(|a, b| if value(b) > value(a) { b } else { a }) else { break };
        chosen.push(best);
        open.retain(|n| *n != best && dot(row(*n), row(best)) < least);
    }
    chosen
}

fn numbers(hits: &[Hit]) -> Vec<usize> {
    hits.iter().map(|hit| hit.key.parse().unwrap()).collect()
}

fn search(collection: &Collection, query: Query, limit: usize) -> Vec<Hit> {
    collection.search(query, limit).unwrap()
}

#[test]
fn near_duplicates_are_shown_once_and_hits_are_as_unlike_as_asked() {
    let set = bursts(150);
    let made = plain(DIM, NewCollection::default(), Options::default());
    for is_sealed in [false, true] {
        match is_sealed {
            false => fill(&made.plain, &set, |_| serde_json::Value::Null),
            true => made.plain.seal().unwrap(),
        }
        for query in set.like_text.iter().chain(&set.like_rows) {
            let nearest = search(&made.plain, vector(query), 10);
            let spread = |near_duplicates, diversity| Spread { near_duplicates, diversity };
            for spread in [spread(Some(0.98), 0.0), spread(None, 0.5), spread(Some(0.98), 0.3), spread(None, 1.0)] {
                let hits = search(&made.plain, vector(query).spread(spread), 10);
                assert_eq!(numbers(&hits), by_hand(&set, query, 10, spread, &[]), "{spread:?}, sealed: {is_sealed}");
                assert_eq!((hits.len(), hits[0].score), (10, nearest[0].score));
                assert_eq!(hits.is_sorted_by(|a, b| a.score >= b.score), spread.diversity == 0.0);
            }
            let shown = vec![numbers(&nearest)[0], numbers(&nearest)[9]];
            let spread = spread(Some(0.98), 0.0);
            let others =
                search(&made.plain, vector(query).spread(spread).without(shown.iter().map(usize::to_string)), 10);
            assert_eq!(numbers(&others), by_hand(&set, query, 10, spread, &shown), "nothing like what was shown");
        }
    }
}

#[test]
fn a_burst_of_any_size_does_not_fill_the_hits() {
    let mut set = bursts(20);
    let first = set.data[..DIM].to_vec();
    (0..3_000).for_each(|_| set.data.extend(&first));
    let new = || NewCollection { vector_type: VectorType::F16, ..NewCollection::default() };
    let made = plain(DIM, new(), Options::default());
    fill(&made.plain, &set, |_| serde_json::Value::Null);
    let once = Spread { near_duplicates: Some(0.98), ..Spread::default() };
    let hits = search(&made.plain, vector(&first).spread(once), 10);
    let mut seen: Vec<usize> = numbers(&hits).into_iter().map(|n| if n < 120 { n / BURST } else { 0 }).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((hits.len(), seen.len()), (10, 10), "{:?}", numbers(&hits));
    assert_eq!(search(&made.plain, vector(&first).spread(once), 200).len(), 20, "there are no more");
    let like = search(&made.plain, Query::key("0").spread(once), 1);
    assert!(numbers(&like)[0] >= BURST && numbers(&like)[0] < 120, "like it, and not the same");
}

#[test]
fn what_is_out_of_range_is_named() {
    let made = plain(2, NewCollection::default(), Options::default());
    for (near_duplicates, diversity, name) in [
        (Some(0.0), 0.0, "near_duplicates"),
        (Some(1.1), 0.0, "near_duplicates"),
        (Some(f32::NAN), 0.0, "near_duplicates"),
        (None, -0.1, "diversity"),
        (None, 1.5, "diversity"),
        (None, f32::NAN, "diversity"),
    ] {
        let query = vector(&[1.0, 0.0]).spread(Spread { near_duplicates, diversity });
        let error = made.plain.search(query, 5).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { name: found, .. } if found == name), "{error}");
    }
    let all = Spread { near_duplicates: Some(1.0), diversity: 1.0 };
    assert!(search(&made.plain, vector(&[1.0, 0.0]).spread(all), 5).is_empty(), "nothing is there");
}
