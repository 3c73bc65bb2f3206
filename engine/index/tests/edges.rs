//! Goal: no set of rows and no query is too odd: none, one, equal, near-equal, `k` past the rows, nothing allowed.
//!
//! Method: build, freeze, search, and compare with the flat scan where it has one right answer.

mod common;

use std::cell::Cell;

use common::{set, truth};
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::hnsw::{Growing, HnswParams, build};
use fromagerie_index::vamana::{self, Known, VamanaParams};
use fromagerie_index::{BuildError, DenseRows, Neighbor, Query, Rows, SearchError};

const SEQUENTIAL: HnswParams = HnswParams { m: 16, ef_construction: 200, parallel: false };

/// A graph of each kind.
fn both(rows: &DenseRows<'_>) -> [Vec<u8>; 2] {
    let vamana = vamana::build(rows, None, VamanaParams::default());
    [build(rows, SEQUENTIAL).expect("a graph"), vamana.expect("a graph")]
}

fn search(rows: &DenseRows<'_>, query: &Query<'_>) -> Vec<Neighbor> {
    let [one, other] = both(rows).map(|bytes| {
        let graph = Graph::parse(&bytes).expect("what was built can be read");
        graph.check().expect("a sound graph");
        graph.search(rows, query, &mut Scratch::new()).expect("an answer").to_vec()
    });
    assert_eq!(one.len(), other.len());
    other
}

#[test]
fn no_rows_and_one_row() {
    let none = DenseRows::new(&[], 3).expect("no rows");
    let query = Query::new(&[1.0, 0.0, 0.0], 5);
    assert_eq!(search(&none, &query), []);
    let one = DenseRows::new(&[0.0, 1.0, 0.0], 3).expect("one row");
    assert_eq!(search(&one, &query), [Neighbor { row: 0, score: 0.0 }]);
    assert_eq!(search(&one, &Query { k: 0, ..query }), []);
}

#[test]
fn few_rows_are_all_found() {
    let set = set(40, 16, 5);
    for count in 1..=40 {
        let rows = DenseRows::new(&set.data[..count * 16], 16).expect("whole rows");
        for k in [1, count, 1000, usize::MAX] {
            let query = Query { ef: 1, ..Query::new(&set.like_text[0], k) };
            let hits = search(&rows, &query);
            assert_eq!(hits.len(), k.min(count));
            if k >= count {
                assert_eq!(hits, truth(&rows, &query));
            }
        }
    }
}

#[test]
fn filters_and_least_scores() {
    let set = set(3_000, 16, 5);
    let rows = set.rows();
    let bytes = vamana::build(&rows, None, VamanaParams::default()).expect("a graph");
    let (graph, mut scratch) = (Graph::parse(&bytes).expect("a graph"), Scratch::new());
    for vector in &set.like_text {
        let query = Query::new(vector, 10);
        let nothing = Query { allow: Some(&|_| false), ..query };
        assert_eq!(graph.search(&rows, &nothing, &mut scratch), Ok(&[][..]));
        let three = Query { allow: Some(&|row| [7, 1500, 2999].contains(&row)), ..query };
        assert_eq!(graph.search(&rows, &three, &mut scratch).expect("an answer"), truth(&rows, &three));
        assert!(scratch.swept(), "three rows of 3,000 are not worth a walk");

        let best = truth(&rows, &query);
        let shown = |row: u32| best.iter().all(|hit| hit.row != row);
        let hits = graph.search(&rows, &Query { allow: Some(&shown), ..query }, &mut scratch).expect("an answer");
        assert!(hits.len() == 10 && hits.iter().all(|hit| shown(hit.row)));
        assert!(!scratch.swept());

        let good = Query { min_score: Some(best[4].score), ..query };
        let hits = graph.search(&rows, &good, &mut scratch).expect("an answer");
        assert!(
            (4..=5).contains(&hits.len()) && hits.iter().all(|hit| best[..5].contains(hit)),
            "{hits:?} of {best:?}"
        );
        let perfect = Query { min_score: Some(1.5), ..query };
        assert_eq!(graph.search(&rows, &perfect, &mut scratch), Ok(&[][..]));
    }
}

#[test]
fn a_set_of_nodes_changes_no_answer() {
    let mut set = set(3_000, 16, 20);
    // Some rows twice: a node may count for its twin's sake.
    set.data.extend_from_within(..200 * 16);
    let rows = set.rows();
    let bytes = vamana::build(&rows, None, VamanaParams::default()).expect("a graph");
    let (graph, mut scratch) = (Graph::parse(&bytes).expect("a graph"), Scratch::new());
    let small = vamana::build(&common::set(100, 16, 0).rows(), None, VamanaParams::default()).expect("a graph");
    let anothers = Graph::parse(&small).expect("a graph").nodes_of(|_| false);
    let twins = |row: u32| row >= 3_000;
    let filters: [&dyn Fn(u32) -> bool; 4] = [&|row| row % 2 == 0, &|row| row % 10 == 3, &|row| row % 100 == 7, &twins];
    for allow in filters {
        let nodes = graph.nodes_of(allow);
        for vector in set.like_rows.iter().chain(&set.like_text) {
            for recall in [0.8, 0.95] {
                let query = Query { recall: Some(recall), allow: Some(allow), ..Query::new(vector, 10) };
                let plain = graph.search(&rows, &query, &mut scratch).expect("an answer").to_vec();
                for nodes in [&nodes, &anothers] {
                    let with = Query { nodes: Some(nodes), ..query };
                    assert_eq!(graph.search(&rows, &with, &mut scratch), Ok(&plain[..]));
                }
            }
        }
    }
}

#[test]
fn thousands_of_equal_rows_do_not_hide_the_others() {
    let mut set = set(1_000, 16, 20);
    let (many, other) = (set.data[..16].to_vec(), set.data[16..32].to_vec());
    for _ in 0..3_000 {
        set.data.extend(&many);
        set.data.extend(&other);
    }
    let rows = set.rows();
    let bytes = vamana::build(&rows, None, VamanaParams::default()).expect("a graph");
    let (graph, mut scratch) = (Graph::parse(&bytes).expect("a graph"), Scratch::new());
    graph.check().expect("a sound graph");
    assert!(graph.info().twins >= 6_000);
    let (mut found, mut wanted) = (0, 0);
    for vector in set.like_rows.iter().chain(&set.like_text).chain([&many, &other]) {
        for k in [1, 10, 100] {
            let query = Query { ef: 100, ..Query::new(vector, k) };
            let (hits, want) = (graph.search(&rows, &query, &mut scratch).expect("an answer"), truth(&rows, &query));
            let good = hits.iter().filter(|hit| hit.score >= want[k - 1].score).count();
            assert!(hits.len() == k && good * 100 >= k * 90, "{good} of {k}");
            (found, wanted) = (found + good, wanted + k);
        }
    }
    assert!(found * 1000 >= wanted * 995, "{found} of {wanted}");
    // All but one of the equal rows were shown already; the last one still comes.
    let query = Query { allow: Some(&|row| row >= 6_998), ..Query::new(&many, 1) };
    assert_eq!(graph.search(&rows, &query, &mut scratch).expect("an answer")[0].row, 6_998);
    assert!(!scratch.swept());
}

#[test]
fn near_equal_rows_do_not_cut_the_graph() {
    let mut set = set(2_000, 32, 50);
    let seed = set.data[..32].to_vec();
    for copy in 0..1_000u32 {
        let mut near = seed.clone();
        near[copy as usize % 32] += 1e-4 * (1.0 + copy as f32 / 1000.0);
        fromagerie_kernels::normalize(&mut near).expect("a direction");
        set.data.extend(near);
    }
    let rows = set.rows();
    let bytes = vamana::build(&rows, None, VamanaParams::default()).expect("a graph");
    let (graph, mut scratch) = (Graph::parse(&bytes).expect("a graph"), Scratch::new());
    let mut found = 0.0;
    for vector in set.like_rows.iter().chain(&set.like_text) {
        let query = Query { ef: 64, ..Query::new(vector, 10) };
        let want = truth(&rows, &query);
        let hits = graph.search(&rows, &query, &mut scratch).expect("an answer");
        found += hits.iter().filter(|hit| hit.score >= want[9].score).count() as f64 / 10.0;
    }
    assert!(found / 100.0 >= 0.95, "{}", found / 100.0);
}

#[test]
fn what_does_not_fit_is_an_error_value() {
    let set = set(100, 8, 1);
    let rows = set.rows();
    let bytes = build(&rows, SEQUENTIAL).expect("a graph");
    let (graph, mut scratch) = (Graph::parse(&bytes).expect("a graph"), Scratch::new());
    let short = Query::new(&set.like_text[0][..7], 1);
    let wrong_dim = SearchError::WrongDim { expected: 8, received: 7 };
    assert_eq!(graph.search(&rows, &short, &mut scratch), Err(wrong_dim));
    let nan = [f32::NAN; 8];
    assert_eq!(graph.search(&rows, &Query::new(&nan, 1), &mut scratch), Err(SearchError::NotFinite { at: 0 }));
    let fewer = DenseRows::new(&set.data[..80], 8).expect("whole rows");
    let wrong_rows = SearchError::WrongRows { graph_rows: 100, graph_dim: 8, rows: 10, dim: 8 };
    assert_eq!(graph.search(&fewer, &Query::new(&set.like_text[0], 1), &mut scratch), Err(wrong_rows));

    let growing = Growing::new(2, SEQUENTIAL, 0).expect("sound");
    assert_eq!(growing.insert(0, &[1.0]), Err(BuildError::WrongDim { expected: 2, received: 1 }));
    for bad in [[0.0, 0.0], [2.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 0.0]] {
        assert_eq!(growing.insert(0, &bad), Err(BuildError::NotUnit { row: 0 }));
    }
    assert_eq!(growing.search(&Query::new(&[1.0, 0.0], 3)), Ok(vec![]));
    growing.insert(1, &[1.0, 0.0]).expect("taken");
    assert_eq!(growing.insert(1, &[0.0, 1.0]), Err(BuildError::Repeated { row: 1 }));
    assert_eq!(growing.freeze(), Err(BuildError::Missing { row: 0 }));
    let params = VamanaParams::default();
    for degree in [0, 1, 129] {
        let wrong = vamana::build(&rows, None, VamanaParams { degree, ..params });
        assert_eq!(wrong, Err(BuildError::WrongM { received: degree }));
    }
    let zero = DenseRows::new(&[1.0, 0.0, 0.0, 0.0], 2).expect("whole rows");
    assert_eq!(vamana::build(&zero, None, params), Err(BuildError::NotUnit { row: 1 }));
    let wrong_training = BuildError::WrongDim { expected: 8, received: 2 };
    assert_eq!(vamana::build(&rows, Some(&zero), params), Err(wrong_training));
    for m in [0, 1, 129, 300] {
        let params = HnswParams { m, ..SEQUENTIAL };
        assert_eq!(build(&rows, params), Err(BuildError::WrongM { received: m }));
    }
}

#[test]
fn cancelling_ends_a_walk() {
    let set = set(3_000, 16, 1);
    let rows = set.rows();
    let bytes = vamana::build(&rows, None, VamanaParams::default()).expect("a graph");
    let asked = Cell::new(0);
    let second = || {
        asked.set(asked.get() + 1);
        asked.get() == 2
    };
    let query = Query { cancelled: Some(&second), ef: 200, ..Query::new(&set.like_text[0], 10) };
    let graph = Graph::parse(&bytes).expect("a graph");
    assert_eq!(graph.search(&rows, &query, &mut Scratch::new()), Err(SearchError::Cancelled));
    assert_eq!(asked.get(), 2);
}

#[test]
fn one_thread_gives_the_same_bytes_again() {
    let set = set(500, 16, 1);
    let [first, second] = [(); 2].map(|()| build(&set.rows(), SEQUENTIAL).expect("a graph"));
    assert!(first == second);
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let set = set(3_000, 16, 300);
    let training: Vec<f32> = set.like_text.iter().flatten().copied().collect();
    let training = DenseRows::new(&training, 16).expect("whole rows");
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| vamana::build(&set.rows(), Some(&training), VamanaParams::default()).expect("a graph"))
    });
    assert!(one == three);
    let other = VamanaParams { seed: 1, ..VamanaParams::default() };
    assert!(one != vamana::build(&set.rows(), Some(&training), other).expect("a graph"));
}

#[test]
fn growing_takes_rows_while_it_is_searched() {
    let set = set(2_000, 16, 50);
    let rows = set.rows();
    let growing = Growing::new(16, HnswParams::default(), 0).expect("sound");
    std::thread::scope(|scope| {
        for part in 0..4u32 {
            let (growing, rows) = (&growing, &rows);
            scope.spawn(move || {
                for row in (part..2_000).step_by(4) {
                    growing.insert(row, rows.row(row)).expect("taken");
                }
            });
        }
        scope.spawn(|| {
            for vector in &set.like_text {
                let hits = growing.search(&Query::new(vector, 10)).expect("an answer");
                assert!(hits.is_sorted() && hits.len() <= 10);
            }
        });
    });
    assert_eq!(growing.len(), 2_000);
    let bytes = growing.freeze().expect("a graph");
    Graph::parse(&bytes).expect("a graph").check().expect("a sound graph");
    let odd = |row: u32| row % 50 == 1;
    for vector in &set.like_rows {
        let query = Query { ef: 64, allow: Some(&odd), ..Query::new(vector, 10) };
        let hits = growing.search(&query).expect("an answer");
        assert!(hits.len() == 10 && hits.iter().all(|hit| odd(hit.row)));
        assert!(common::recall(&hits, &truth(&rows, &query)) >= 0.7);
    }
}

#[test]
fn a_watched_build_tells_its_share_and_ends_when_told() {
    let set = set(2_000, 16, 8);
    let rows = set.rows();
    let mut told = Vec::new();
    let watched = vamana::build_watched(&rows, Known::default(), VamanaParams::default(), &mut |share| {
        told.push(share);
        true
    });
    assert_eq!(watched, vamana::build(&rows, None, VamanaParams::default()));
    assert!(told.len() > 20 && told.is_sorted() && told.iter().all(|share| (0.0..=1.0).contains(share)), "{told:?}");
    let mut asked = 0;
    let stopped = vamana::build_watched(&rows, Known::default(), VamanaParams::default(), &mut |_| {
        asked += 1;
        asked < 5
    });
    assert_eq!((stopped, asked), (Err(BuildError::Stopped), 5), "it is not asked again");
}
