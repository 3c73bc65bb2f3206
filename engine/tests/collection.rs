//! Goal: what is written is found, and what cannot be is refused by name. Method: the fake model's colours, where
//! every vector is known beforehand.

mod common;

use std::path::PathBuf;

use common::{REDS, cellar, png};
use fromagerie::{Database, Error, IngestEvent, IngestOptions, Item, NewCollection, Options, Query, Term, VectorType};
use fromagerie_models::FakeModel;

#[test]
fn words_pictures_keys_and_vectors_find() {
    let (_cellar, colours) = cellar(FakeModel::new(), &REDS);
    let first = |query: Query| colours.search(query, 2).unwrap()[0].key.clone();
    assert_eq!(first("red".into()), "red-1");
    assert_eq!(first("blue".into()), "blue");
    assert_eq!(first(Query::image(png([0, 0, 200]))), "blue");
    assert_eq!(first(Query::key("red-1")), "red-2", "an item is not its own neighbour");
    assert_eq!(first(Query::vector(colours.require("blue").unwrap().vector)), "blue");
    assert_eq!(first(Query::from("red").without(["red-1", "red-2"])), "red-3");
    assert_eq!(first(Query::from("blue").minus("blue").plus("red")), "red-1");
}

#[test]
fn sealing_changes_no_answer() {
    let (_cellar, colours) = cellar(FakeModel::new(), &REDS);
    let before = colours.search("red", 10).unwrap();
    colours.seal().unwrap();
    assert_eq!(colours.sealed_segments(), 1);
    assert_eq!(colours.search("red", 10).unwrap(), before);
    colours.insert(Item::image("red-0", png([255, 0, 0])).payload("shelf", 3)).unwrap();
    colours.delete(["red-1"], None).unwrap();
    let keys: Vec<_> = colours.search("red", 2).unwrap().into_iter().map(|h| h.key).collect();
    assert_eq!(keys, ["red-0", "red-2"]);
    let shelf = Query { payload_equals: [("shelf".to_owned(), 3.into())].into_iter().collect(), ..Query::from("blue") };
    let keys: Vec<_> = colours.search(shelf, 10).unwrap().into_iter().map(|h| h.key).collect();
    assert_eq!(keys, ["red-0"]);
}

/// Lists in each other.
fn nested(levels: usize) -> serde_json::Value {
    (1..levels).fold(serde_json::Value::from(7), |inner, _| vec![inner].into())
}

#[test]
fn bad_input_is_refused_by_name_and_changes_nothing() {
    let (cellar, colours) = cellar(FakeModel::new(), &REDS);
    let cases: Vec<(Item, &str)> = vec![
        (Item::vector("x", vec![1.0, 2.0]), "2 dimensions, and collection \"colours\" has 16"),
        (Item::vector("x", vec![f32::NAN; 16]), "value 0 is NaN"),
        (Item::vector("x", vec![f32::INFINITY; 16]), "value 0 is inf"),
        (Item::vector("x", vec![0.0; 16]), "all zeros"),
        (Item::vector("", vec![1.0; 16]), "its key has 0 bytes"),
        (Item::vector("k".repeat(513), vec![1.0; 16]), "its key has 513 bytes"),
        (Item::vector("x", vec![1.0; 16]).payload("deep", nested(200)), "nested deeper than 20 levels"),
        (Item::vector("x", vec![1.0; 16]).caption("c".repeat(70_000)), "its caption has 70000 bytes"),
        (Item::image("x", b"hello, I am text".to_vec()), "not an image"),
        (Item::image("x", png([1, 2, 3])[..60].to_vec()), "ends before the picture does"),
        (Item::file("/nowhere/at/all.jpg"), "/nowhere/at/all.jpg"),
    ];
    for (item, says) in cases {
        let error = colours.insert(item).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.kind().is_users_fault(), "{error}");
    }
    assert_eq!(colours.len(), REDS.len());
    let searches: Vec<(Query, usize, &str)> = vec![
        ("red".into(), 0, "limit is 0; it must be 1 to 1000"),
        ("red".into(), 1001, "limit is 1001"),
        ("  ".into(), 1, "the text has no words"),
        (Query::default(), 1, "at least one"),
        (Query::key("nothing"), 1, "no item with key \"nothing\""),
        (Query::from("red").minus("red"), 1, "cancel out"),
        (Query::vector(vec![1.0; 3]), 1, "3 dimensions"),
    ];
    for (query, limit, says) in searches {
        let error = colours.search(query, limit).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = cellar.db.open_collection("colour").err().unwrap().to_string();
    assert!(error.contains("no collection \"colour\"; known: colours"), "{error}");
}

#[test]
fn a_batch_keeps_what_is_good_and_names_what_is_not() {
    let (_cellar, colours) = cellar(FakeModel::new(), &[]);
    let items = vec![Item::image("good", png([255, 0, 0])), Item::image("bad", b"GIF89a".to_vec())];
    let done = colours.upsert(items, Some("once".into())).unwrap();
    assert_eq!((done.receipt.unwrap().put, done.failures.len()), (1, 1));
    assert_eq!(done.failures[0].0, "bad");
    let again = colours.upsert(vec![Item::image("good", png([0, 0, 255]))], Some("once".into())).unwrap();
    assert_eq!(again.receipt, done.receipt, "the same request id is the same receipt");
    assert_eq!(colours.search("red", 1).unwrap()[0].score, colours.search("red", 1).unwrap()[0].score);
    assert_eq!(colours.len(), 1);
}

#[test]
fn vectors_of_another_space_are_refused_on_every_path() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let folder = cellar.folder;
    drop((cellar.db, cellar.model));
    let other = std::sync::Arc::new(FakeModel::new().with_space("other"));
    let db = Database::open_with_model(folder.path(), Options::default(), other).unwrap();
    let colours = db.open_collection("colours").unwrap();
    let refused = [
        colours.search("red", 1).err(),
        colours.search(Query::image(png([1, 1, 1])), 1).err(),
        colours.insert(Item::image("x", png([1, 1, 1]))).err(),
        colours.search(Query::term(Term::Dialogue(vec![fromagerie::dialogue::Turn::user("red")])), 1).err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::OtherSpace { .. })), "{error:?}");
    }
    assert!(matches!(
        db.create_session("colours", None).and_then(|s| {
            db.chat(
                &s.name,
                vec![fromagerie::dialogue::Part::Text("show red".into())],
                &Default::default(),
                &|| false,
                &mut |_| Ok(()),
            )
        }),
        Err(Error::OtherSpace { .. })
    ));
}

#[test]
fn a_collection_of_vectors_needs_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let new = NewCollection { dim: Some(3), vectors_only: true, ..NewCollection::default() };
    let plain = db.create_collection("plain", new).unwrap();
    plain.insert(Item::vector("east", vec![2.0, 0.0, 0.0])).unwrap();
    plain.insert(Item::vector("north", vec![0.0, 5.0, 0.0])).unwrap();
    let hits = plain.search(Query::vector(vec![1.0, 0.1, 0.0]), 2).unwrap();
    assert_eq!(hits.iter().map(|h| h.key.as_str()).collect::<Vec<_>>(), ["east", "north"]);
    assert!(matches!(plain.search("east", 1), Err(Error::VectorsOnly { .. })));
    assert!(matches!(db.collection("other"), Err(Error::NoModel { .. })));
    assert!(matches!(db.create_collection("plain", new), Err(e) if e.reason() == "NAME_TAKEN"));
}

#[test]
fn a_folder_is_ingested_once_and_its_bad_files_are_named() {
    let (_cellar, colours) = cellar(FakeModel::new(), &[]);
    let source = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = source.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("a/red.png", &png([255, 0, 0]));
    put("blue.png", &png([0, 0, 255]));
    put("blue.txt", b"a deep blue\n");
    put("text.jpg", b"I am not a picture");
    put("notes.md", b"left alone");
    put("captions.tsv", b"a/red.png\ta warm red\n");
    let run = || {
        let mut failed = Vec::new();
        let report = colours
            .ingest(&[source.path().to_owned()], &IngestOptions::default(), &|| false, &mut |event| {
                if let IngestEvent::Failed(failure) = event {
                    failed.push(format!("{}: {}", failure.key.as_deref().unwrap_or("?"), failure.error));
                }
            })
            .unwrap();
        ((report.found, report.written, report.unchanged, report.failed), failed)
    };
    let (counts, failed) = run();
    assert_eq!(counts, (3, 2, 0, 1));
    assert!(failed[0].starts_with("text.jpg: not an image"), "{failed:?}");
    assert_eq!(colours.require("a/red.png").unwrap().document.caption, "a warm red");
    assert_eq!(colours.require("blue.png").unwrap().document.caption, "a deep blue");
    assert_eq!(run().0, (3, 0, 2, 1), "a second run encodes nothing");

    let empty = tempfile::tempdir().unwrap();
    for (folder, says) in [(empty.path().to_owned(), "holds no pictures"), (PathBuf::from("/nowhere"), "/nowhere")] {
        let error = colours.ingest(&[folder], &IngestOptions::default(), &|| false, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// A vector of 64 from a small generator.
fn some_vector(seed: &mut u64) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..64).map(|_| next() + next() + next()).collect()
}

#[test]
fn halves_score_within_their_rounding_and_find_the_same() {
    /// Cauchy and Schwarz: each element is off by 2^-11 of itself or 2^-25, and the sum by its own rounding.
    const BOUND: f32 = 1.0 / 2048.0 + 8.0 / 33_554_432.0 + 1e-5;
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path()).unwrap();
    let new = NewCollection { dim: Some(64), vectors_only: true, ..NewCollection::default() };
    let single = db.create_collection("single", new).unwrap();
    let half = db.create_collection("half", NewCollection { vector_type: VectorType::F16, ..new }).unwrap();
    assert_eq!((single.vector_type(), half.vector_type()), (VectorType::F32, VectorType::F16));
    let mut seed = 7;
    // More than a segment without a graph may have.
    for part in 0..9 {
        let items: Vec<Item> =
            (0..1000).map(|n| Item::vector(format!("{}", part * 1000 + n), some_vector(&mut seed))).collect();
        single.insert_many(items.clone(), None).unwrap();
        half.insert_many(items, None).unwrap();
    }
    let queries: Vec<Vec<f32>> = (0..40).map(|_| some_vector(&mut seed)).collect();
    let look = |query: &Vec<f32>, exact: bool| {
        let query = Query { exact, ..Query::vector(query.clone()) };
        (single.search(query.clone(), 10).unwrap(), half.search(query, 10).unwrap())
    };
    let keys = |hits: &[fromagerie::Hit]| hits.iter().map(|hit| hit.key.clone()).collect::<Vec<_>>();
    let (mut same, mut before) = (0, Vec::new());
    for query in &queries {
        let (truth, found) = look(query, true);
        before.push(found.iter().map(|hit| (hit.key.clone(), hit.score.to_bits())).collect::<Vec<_>>());
        for (truth, found) in truth.iter().zip(&found) {
            // The n-th best score moves by no more than any score does.
            assert!((truth.score - found.score).abs() <= BOUND, "{} {}", truth.score, found.score);
        }
        same += keys(&found).iter().filter(|key| keys(&truth).contains(key)).count();
    }
    assert!(same >= 392, "recall@10 of an exact search {same} of 400");
    single.seal().unwrap();
    half.seal().unwrap();
    let parts =
        |stats: fromagerie::CollectionStats| stats.parts.iter().find(|part| part.name == "vectors").unwrap().bytes;
    assert_eq!(parts(single.stats()), 2 * parts(half.stats()));
    let (mut walked, mut again) = (0, Vec::new());
    for query in &queries {
        let exact = look(query, true).1;
        again.push(exact.iter().map(|hit| (hit.key.clone(), hit.score.to_bits())).collect::<Vec<_>>());
        let near = look(query, false).1;
        walked += keys(&near).iter().filter(|key| keys(&exact).contains(key)).count();
    }
    assert_eq!(before, again, "a row scores the same, bit for bit, before and after it is sealed");
    assert!(walked >= 340, "recall@10 of a walk {walked} of 400");
}
