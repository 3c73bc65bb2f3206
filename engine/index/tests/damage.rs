//! Goal: no bytes make parsing or searching panic, hang, or give a wrong score.
//!
//! Method: arbitrary bytes; a real graph cut anywhere, with bytes changed, and with whole words changed to values
//! near the limits. Whatever still parses is searched, and every score is compared with the rows.

mod common;

use std::sync::OnceLock;

use common::{Set, set};
use fromagerie_index::frozen::{Graph, GraphError, Kind, Scratch};
use fromagerie_index::vamana::{VamanaParams, build};
use fromagerie_index::{Query, Rows};
use proptest::prelude::*;

/// Rows with a few twins among them, and their graph.
fn sound() -> &'static (Set, Vec<u8>) {
    static SOUND: OnceLock<(Set, Vec<u8>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let mut set = set(400, 8, 4);
        set.data.copy_within(0..40, 80);
        let bytes =
            build(&set.rows(), None, VamanaParams { degree: 8, beam: 40, ..VamanaParams::default() }).expect("a graph");
        (set, bytes)
    })
}

/// Rows enough that walks start at posts, and their graph.
fn with_posts() -> (Set, Vec<u8>) {
    let set = set(3_500, 8, 20);
    let params = VamanaParams { degree: 8, beam: 20, ..VamanaParams::default() };
    let bytes = build(&set.rows(), None, params).expect("a graph");
    (set, bytes)
}

fn survive(bytes: &[u8]) {
    survive_over(&sound().0, bytes);
}

fn survive_over(set: &Set, bytes: &[u8]) {
    let Ok(graph) = Graph::parse(bytes) else {
        return;
    };
    let _ = graph.check();
    let rows = set.rows();
    let mut scratch = Scratch::new();
    for vector in &set.like_text {
        for query in [Query::new(vector, 5), Query { allow: Some(&|row| row % 3 == 0), ..Query::new(vector, 300) }] {
            let Ok(hits) = graph.search(&rows, &query, &mut scratch) else {
                continue;
            };
            let hits = hits.to_vec();
            assert!(hits.is_sorted() && hits.windows(2).all(|pair| pair[0].row != pair[1].row));
            for hit in hits {
                assert_eq!(hit.score, fromagerie_kernels::dot(vector, rows.row(hit.row)));
            }
            let by_codes = graph.search_codes(&query, &mut scratch).expect("nothing to refuse");
            assert!(by_codes.iter().all(|hit| (hit.row as usize) < rows.len()));
        }
    }
}

#[test]
fn every_cut_is_noticed() {
    let bytes = &sound().1;
    for length in 0..bytes.len() {
        assert!(Graph::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(Graph::parse(&longer), Err(GraphError::WrongLength { .. })));
}

#[test]
fn every_byte_of_the_header_matters() {
    let bytes = &sound().1;
    // Beam, training queries and what was measured are for information, or make a search poorer at worst.
    let information = |at: usize| (48..68).contains(&at) || (72..248).contains(&at);
    for at in (0..256).filter(|at| !information(*at)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        let entry = (28..32).contains(&at);
        assert!(Graph::parse(&damaged).is_err() || entry, "byte {at}");
        survive(&damaged);
    }
    for at in (0..256).filter(|at| information(*at)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        survive(&damaged);
    }
}

#[test]
fn check_finds_a_wrong_neighbour_and_names_its_place() {
    let bytes = &sound().1;
    let info = Graph::parse(bytes).expect("a graph").info();
    assert_eq!((info.kind, info.rows, info.dim, info.beam), (Kind::Vamana, 400, 8, 40));
    assert!(info.twins >= 5 && info.nodes + info.twins == 400);
    // Behind the header: mean, steps, and a line of code for each node.
    let first_neighbour = 256 + 64 + 64 + 64 * info.nodes;
    let mut damaged = bytes.clone();
    damaged[first_neighbour..][..4].copy_from_slice(&400u32.to_le_bytes());
    let graph = Graph::parse(&damaged).expect("the sections are all there");
    let wrong = GraphError::Damaged { offset: first_neighbour as u64, what: "a neighbour", value: 400 };
    assert_eq!(graph.check(), Err(wrong));
    survive(&damaged);
}

#[test]
fn damaged_posts_are_found_and_make_a_search_poorer_at_worst() {
    let (set, bytes) = with_posts();
    let graph = Graph::parse(&bytes).expect("a graph");
    assert!(graph.info().posts >= 64, "{:?}", graph.info());
    assert_eq!(graph.check(), Ok(()));
    let centres = usize::from(u16::from_le_bytes([bytes[14], bytes[15]]));
    // Behind the header: mean, steps, and a line of code for each centre.
    let bounds = 256 + 64 + 64 + 64 * centres;
    let posts = bounds + (4 * centres).next_multiple_of(64);
    for (section, what) in [(bounds, "a centre's bound"), (posts, "a post")] {
        for at in (section..section + 4 * centres).step_by(4) {
            for value in [u32::MAX, 1 << 30, 3_500, 0] {
                let mut damaged = bytes.clone();
                damaged[at..][..4].copy_from_slice(&value.to_le_bytes());
                let graph = Graph::parse(&damaged).expect("the sections are all there");
                if value > 3_500 {
                    let wrong = GraphError::Damaged { offset: at as u64, what, value: value.into() };
                    assert_eq!(graph.check(), Err(wrong));
                }
                if at % 64 == 0 {
                    survive_over(&set, &damaged);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..1200), keep in 0usize..300) {
        survive(&bytes);
        let keep = keep.min(bytes.len());
        let mut headed = bytes;
        headed[..keep].copy_from_slice(&sound().1[..keep]);
        survive(&headed);
    }

    #[test]
    fn changed_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = sound().1.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        survive(&bytes);
    }

    #[test]
    fn changed_words(changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
        0u32..500, Just(u32::MAX), Just(u32::MAX / 4), Just(1 << 31), any::<u32>()
    ]), 1..40)) {
        let mut bytes = sound().1.clone();
        for (at, value) in changes {
            // Past the header, so that the damage lies in the lists.
            let at = 256 + 4 * at.index((bytes.len() - 256) / 4);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        survive(&bytes);
    }
}
