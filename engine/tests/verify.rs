//! Goal: what is stored as it was written and cannot be used is named by `verify`, costs no answer, and is mended by a
//! rebuild. Method: storage alone plants graphs and lists of payloads that storage takes for whole.
#![allow(clippy::unwrap_used)]

#[path = "common/vectors.rs"]
mod vectors;

use std::path::Path;
use std::sync::Arc;

use fromagerie::{NewCollection, Options, Query};
use fromagerie_index::frozen::Graph;
use fromagerie_storage::{PayloadLister, SegmentBuilder, Source, Store, StoreOptions, Task};
use serde_json::json;
use vectors::{again, fill, plain, truth, vector};

const ROWS: usize = 9_000;
const DIM: usize = 16;

/// Adds the same parts to every segment.
#[derive(Clone)]
struct Planted {
    graph: Vec<u8>,
    payloads: Vec<u8>,
}

impl Planted {
    /// What the only segment of the database at `folder` has.
    fn read(folder: &Path) -> Planted {
        let store = Store::open(folder, StoreOptions::default()).unwrap();
        let snapshot = store.collection("plain").unwrap().snapshot();
        let [segment] = snapshot.segments() else { panic!("{} segments", snapshot.segments().len()) };
        let (graph, payloads) = (segment.graph().unwrap().unwrap(), segment.payloads().unwrap().unwrap());
        Planted { graph: graph.to_vec(), payloads: payloads.to_vec() }
    }

    fn plant(self, folder: &Path) {
        let store = Store::open(folder, StoreOptions::default()).unwrap();
        let collection = store.collection("plain").unwrap();
        collection.set_segment_builder(Arc::new(self));
        collection.rebuild(&mut |_| {}).unwrap();
    }
}

impl SegmentBuilder for Planted {
    fn build(&self, _: &[f32], _: usize, _: &[Source<'_>], _: &mut Task<'_>) -> Option<Vec<u8>> {
        Some(self.graph.clone())
    }

    fn payloads(&self) -> Option<Box<dyn PayloadLister>> {
        Some(Box::new(self.clone()))
    }
}

impl PayloadLister for Planted {
    fn add(&mut self, _: &str) {}

    fn finish(self: Box<Self>) -> Option<Vec<u8>> {
        Some(self.payloads)
    }
}

/// The graph with a word that only a reading of all words finds.
fn contradicting(graph: &[u8]) -> Vec<u8> {
    let words = (graph.len() / 8..graph.len() - 4).map(|at| at & !3);
    let changed = words.step_by(4).map(|at| {
        let mut bytes = graph.to_vec();
        bytes[at..at + 4].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
        bytes
    });
    let is_found = |bytes: &Vec<u8>| Graph::parse(bytes).is_ok_and(|graph| graph.check().is_err());
    changed.into_iter().find(is_found).unwrap()
}

#[test]
fn what_cannot_be_used_is_named_and_costs_no_answer() {
    let set = vectors::generated::set(ROWS, DIM, 20);
    let mut made = plain(DIM, NewCollection::default(), Options::default());
    fill(&made.plain, &set, |n| json!({"half": n % 2}));
    made.plain.compact(&mut |_| {}).unwrap();
    assert!(made.db.verify(&mut |_| {}).unwrap().is_clean());

    let folder = made.folder.path().to_owned();
    let mut other = vectors::generated::set(ROWS - 1, DIM, 0);
    other.data.truncate((ROWS - 1) * DIM);
    let of_other_rows =
        fromagerie_index::vamana::build(&other.rows(), None, fromagerie_index::vamana::VamanaParams::default())
            .unwrap();
    type Change = Box<dyn Fn(&mut Planted)>;
    let cases: [(&str, &str, bool, Change); 5] = [
        ("graph", "graph version 2, this build reads version 3", false, Box::new(|parts| parts.graph[8] = 2)),
        ("graph", "not a graph", false, Box::new(|parts| parts.graph[0] = 0)),
        ("graph", "8999 rows", false, Box::new(move |parts| parts.graph.clone_from(&of_other_rows))),
        ("graph", "is damaged at byte", true, Box::new(|parts| parts.graph = contradicting(&parts.graph))),
        ("payloads", "is missing under \"half\"", true, Box::new(|parts| *parts.payloads.last_mut().unwrap() ^= 1)),
    ];
    for (part, message, is_used, change) in cases {
        drop((made.db, made.plain));
        let mut parts = Planted::read(&folder);
        change(&mut parts);
        parts.plant(&folder);
        let opened = fromagerie::Database::open(&folder).unwrap();
        made = vectors::Plain { plain: opened.open_collection("plain").unwrap(), db: opened, folder: made.folder };

        let report = made.db.verify(&mut |_| {}).unwrap();
        assert!(report.read.is_clean() && !report.is_clean(), "{message}: {report:?}");
        let [unfit] = report.unfit.as_slice() else { panic!("{message}: {report:?}") };
        assert_eq!((unfit.collection.as_str(), unfit.part, unfit.rows), ("plain", part, ROWS as u32));
        assert!(unfit.to_string().contains(message), "{unfit}");
        assert_eq!(made.db.verify_collection("plain", &mut |_| {}).unwrap().unfit, report.unfit);
        if !is_used {
            for query in &set.like_text {
                let (hits, stats) = made.plain.search_with(&vector(query), 10, &|| false).unwrap();
                let found: Vec<_> = hits.iter().map(|hit| hit.key.clone()).collect();
                let wanted: Vec<_> = truth(&set, query, 10, |_| true).into_iter().map(|(key, _)| key).collect();
                assert_eq!((found, stats.degraded_segments), (wanted, 1), "{message}");
            }
        }

        made.plain.learn(Vec::new(), &mut |_| {}).unwrap();
        assert!(made.db.verify(&mut |_| {}).unwrap().is_clean(), "{message}: made anew");
    }
    let made = again(made, Options::default());
    let filtered =
        Query { payload_equals: json!({"half": 1}).as_object().cloned().unwrap(), ..vector(&set.like_text[0]) };
    assert!(made.plain.search(filtered, 10).unwrap().iter().all(|hit| hit.key.parse::<usize>().unwrap() % 2 == 1));
}
