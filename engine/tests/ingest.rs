//! Goal: a run loses nothing in silence: each record is written, there already, left out as asked, or reported with its
//! place. Method: files that other tools wrote, and files broken on purpose, into a database over the fake model.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{cellar, png};
use fromagerie::{
    Collection, Columns, Database, Error, Failure, IngestEvent, IngestOptions, IngestReport, NewCollection, Options,
    Position, SourceOptions, failure_json,
};
use fromagerie_models::FakeModel;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sources").join(name)
}

/// What a run told.
#[derive(Default)]
struct Told {
    failed: Vec<serde_json::Value>,
    duplicates: Vec<String>,
    reached: Vec<Position>,
}

fn ingest(to: &Collection, sources: &[PathBuf], options: &IngestOptions) -> (IngestReport, Told) {
    let mut told = Told::default();
    let report = to
        .ingest(sources, options, &|| false, &mut |event| match event {
            IngestEvent::Failed(failure) => told.failed.push(checked(failure)),
            IngestEvent::Duplicate { key, .. } => told.duplicates.push(key.to_owned()),
            IngestEvent::Reached(position) => told.reached.push(position),
            _ => {}
        })
        .unwrap();
    let accounted = report.written + report.unchanged + report.skipped + report.failed;
    assert_eq!((report.found, report.failed), (accounted, told.failed.len()), "something was lost: {report:?}");
    (report, told)
}

/// A failure as the report has it, which is complete.
fn checked(failure: &Failure) -> serde_json::Value {
    let json = failure_json(failure);
    for field in ["key", "source", "stage", "reason", "message"] {
        assert!(json.get(field).is_some(), "no {field} in {json}");
    }
    json
}

fn vectors_only(folder: &Path, dim: usize) -> Collection {
    let db = Database::open(folder).unwrap();
    let new = NewCollection { dim: Some(dim), vectors_only: true, ..NewCollection::default() };
    db.create_collection("rows", new).unwrap()
}

#[test]
fn shards_are_ingested_once() {
    let (cellar, colours) = cellar(FakeModel::new(), &[]);
    let sources = [fixture("wds-{00000..00001}.tar"), fixture("img2dataset")];
    let (report, _) = ingest(&colours, &sources, &IngestOptions::default());
    assert_eq!((report.written, report.failed), (7, 0));
    assert_eq!(colours.search("cyan", 1).unwrap()[0].key, "1/cyan");
    let blue = colours.require("000000001").unwrap().document;
    assert_eq!((blue.uri.as_str(), blue.payload["status"].as_str()), ("https://example.org/blue.jpg", Some("success")));
    let encoded = cellar.model.counts().images_encoded;
    let (again, _) = ingest(&colours, &sources, &IngestOptions::default());
    assert_eq!((again.unchanged, cellar.model.counts().images_encoded), (7, encoded));
}

#[test]
fn a_run_goes_on_after_the_last_durable_batch() {
    let (_cellar, colours) = cellar(FakeModel::new(), &[]);
    let sources = [fixture("wds-{00000..00001}.tar")];
    let options = IngestOptions { batch: 2, ..IngestOptions::default() };
    let (_, told) = ingest(&colours, &sources, &options);
    assert_eq!(told.reached.len(), 3);
    for (batches, from) in told.reached.into_iter().enumerate() {
        colours.delete(["0/red", "0/green", "0/blue", "1/yellow", "1/cyan"], None).unwrap();
        let (report, _) = ingest(&colours, &sources, &IngestOptions { from, ..options.clone() });
        assert_eq!(report.written, [3, 1, 0][batches]);
        assert!(batches == 2 || colours.require("1/cyan").is_ok());
    }
}

#[test]
fn a_packed_shard_is_read_like_a_plain_one_and_its_end_is_told() {
    let (cellar, colours) = cellar(FakeModel::new(), &[]);
    let packed = fixture("wds-00002.tar.gz");
    let (report, _) = ingest(&colours, std::slice::from_ref(&packed), &IngestOptions::default());
    assert_eq!((report.written, report.failed), (3, 0));
    let encoded = cellar.model.counts().images_encoded;
    let (again, _) = ingest(&colours, &[fixture("wds-00000.tar")], &IngestOptions::default());
    assert_eq!((again.unchanged, again.written), (0, 3), "the same samples, from another address");
    assert_eq!(cellar.model.counts().images_encoded, encoded);

    let bytes = std::fs::read(&packed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for cut in [bytes.len() / 3, bytes.len() * 9 / 10, bytes.len() - 1] {
        let path = folder.path().join(format!("{cut}.tar.gz"));
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (report, told) = ingest(&colours, &[path], &IngestOptions::default());
        assert_eq!(report.failed, 1, "cut at {cut}: {:?}", told.failed);
        assert_eq!(told.failed[0]["reason"], "TRUNCATED_SOURCE", "{}", told.failed[0]);
    }
    let (mut bad, path) = (bytes.clone(), folder.path().join("bad.tar.gz"));
    bad[bytes.len() - 8] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let (report, told) = ingest(&colours, &[path], &IngestOptions::default());
    assert_eq!(report.failed, 1, "another checksum");
    assert_eq!(told.failed[0]["reason"], "DAMAGED_SOURCE", "{}", told.failed[0]);
}

#[test]
fn five_broken_pictures_in_a_hundred_cost_those_five() {
    let (_cellar, colours) = cellar(FakeModel::new(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let mut broken = Vec::new();
    for at in 0..200u8 {
        let name = format!("{at:03}.png");
        let mut bytes = png([at, 255 - at, 7]);
        if at % 20 == 7 {
            let cut = bytes.len() / 2;
            match at / 20 % 4 {
                0 => bytes.truncate(cut),
                1 => bytes[cut..].fill(0x5A),
                2 => bytes = b"<html>404</html>".to_vec(),
                _ => bytes = std::fs::read(fixture("huge.png")).unwrap(),
            }
            broken.push(name.clone());
        }
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let (report, told) = ingest(&colours, &[folder.path().to_owned()], &IngestOptions::default());
    assert_eq!((report.found, report.written, report.failed), (200, 190, 10));
    let failed: Vec<_> = told.failed.iter().map(|failure| failure["key"].as_str().unwrap()).collect();
    assert_eq!(failed, broken);
    assert_eq!(told.failed[3]["reason"], "IMAGE_TOO_LARGE");
    assert!(told.failed[3]["message"].as_str().unwrap().contains("100000x100000"), "{}", told.failed[3]);
}

#[test]
fn tables_name_pictures_beside_them_or_below_a_root() {
    let (_cellar, colours) = cellar(FakeModel::new(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("pictures")).unwrap();
    std::fs::write(path("pictures/red.png"), png([255, 0, 0])).unwrap();
    std::fs::write(path("pictures/blue.png"), png([0, 0, 255])).unwrap();
    let table = "caption\timage\na red\tred.png\na blue\tblue.png\nnone\tgrey.png\nout\t../secret.png\n\t\n";
    std::fs::write(path("cc3m.tsv"), table).unwrap();
    let root = SourceOptions { image_root: Some(path("pictures")), ..SourceOptions::default() };
    let options = IngestOptions { source: root, ..IngestOptions::default() };
    let (report, told) = ingest(&colours, &[path("cc3m.tsv")], &options);
    assert_eq!((report.written, report.failed), (2, 3));
    let told: Vec<_> = told.failed.iter().map(|f| (f["reason"].as_str().unwrap(), f["line"].as_u64())).collect();
    let expected = [("UNREADABLE_FILE", Some(4)), ("OUTSIDE_ROOT", Some(5)), ("NO_PICTURE", Some(6))];
    assert_eq!(told, expected);
    assert_eq!(colours.require("red.png").unwrap().document.caption, "a red");

    std::os::unix::fs::symlink("/dev/zero", path("pictures/endless.png")).unwrap();
    let long = std::fs::File::create(path("pictures/long.png")).unwrap();
    long.set_len((64 << 20) + 1).unwrap();
    std::fs::write(path("endless.tsv"), "image\nendless.png\nlong.png\n").unwrap();
    let (report, told) = ingest(&colours, &[path("endless.tsv")], &options);
    let told: Vec<_> = told.failed.iter().map(|f| f["message"].as_str().unwrap()).collect();
    assert!(report.failed == 2 && told[0].contains("no file") && told[1].contains("67108865 bytes"), "{told:?}");
    let error = colours.ingest(&["/dev/zero".into()], &options, &|| false, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("neither a file nor a folder"), "{error}");

    let lines = "{\"sku\": 7, \"photo\": \"pictures/red.png\", \"price\": 1.1, \"text\": \"new\"}\nnot json\n";
    std::fs::write(path("goods.jsonl"), lines).unwrap();
    let columns = Columns { image: Some("photo".into()), key: Some("sku".into()), ..Columns::default() };
    let source = SourceOptions { columns, ..SourceOptions::default() };
    let options = IngestOptions { source, ..IngestOptions::default() };
    let (report, told) = ingest(&colours, &[path("goods.jsonl")], &options);
    assert_eq!((report.written, told.failed[0]["line"].as_u64()), (1, Some(2)));
    let seven = colours.require("7").unwrap().document;
    assert_eq!((seven.caption.as_str(), seven.payload["price"].as_f64()), ("new", Some(1.1)));
    assert_eq!(ingest(&colours, &[path("goods.jsonl")], &options).0.unchanged, 1, "payloads compare equal");

    std::fs::write(path("other.csv"), "name,size\na,1\n").unwrap();
    let error = colours.ingest(&[path("other.csv")], &IngestOptions::default(), &|| false, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("--image-column") && error.to_string().contains("name, size"), "{error}");
}

#[test]
fn what_repeats_is_told() {
    let (_cellar, colours) = cellar(FakeModel::new(), &[]);
    let folder = tempfile::tempdir().unwrap();
    for (name, colour) in [("a.png", [255, 0, 0]), ("b.png", [0, 0, 255]), ("c.png", [255, 0, 0])] {
        std::fs::write(folder.path().join(name), png(colour)).unwrap();
    }
    let source = [folder.path().to_owned()];
    let skip = IngestOptions { skip_duplicates: true, ..IngestOptions::default() };
    let (report, told) = ingest(&colours, &source, &skip);
    assert_eq!((report.written, report.duplicates, report.skipped), (2, 1, 1));
    assert_eq!(told.duplicates, ["c.png"]);
    assert!(colours.require("c.png").is_err());
    let (report, _) = ingest(&colours, &source, &IngestOptions::default());
    assert_eq!((report.written, report.unchanged, report.duplicates), (1, 2, 1), "kept when nobody asks to skip");

    std::fs::write(folder.path().join("t.csv"), "id,image\n1,a.png\n1,b.png\n").unwrap();
    let (report, told) = ingest(&colours, &[folder.path().join("t.csv")], &IngestOptions::default());
    assert_eq!((report.written, told.failed[0]["reason"].as_str()), (1, Some("REPEATED_KEY")));
    assert_eq!(told.failed[0]["line"], 3);
}

#[test]
fn vectors_go_in_as_they_are_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows = vectors_only(folder.path(), 4);
    let sources = [fixture("named.npy"), fixture("embeddings-4.pkl")];
    let (report, _) = ingest(&rows, &sources, &IngestOptions::default());
    assert_eq!(report.written, 10);
    let (a, first) = (rows.require("a").unwrap().vector, rows.require("https://example.org/0.jpg").unwrap());
    assert_eq!((a, first.document.uri.as_str()), (first.vector, "https://example.org/0.jpg"));
    assert_eq!(ingest(&rows, &sources, &IngestOptions::default()).0.unchanged, 10);

    let wide = vectors_only(&folder.path().join("wide"), 8);
    let error = wide.ingest(&sources, &IngestOptions::default(), &|| false, &mut |_| {}).unwrap_err();
    let Error::InSource { place, error } = error else { panic!("{error}") };
    assert!(place.ends_with("named.npy") && matches!(*error, Error::WrongDim { expected: 8, found: 4, .. }), "{error}");
}

#[test]
fn vectors_of_an_unknown_model_stay_out_of_a_models_space() {
    let folder = tempfile::tempdir().unwrap();
    let model = std::sync::Arc::new(FakeModel::new());
    let db = Database::open_with_model(folder.path(), Options::default(), model).unwrap();
    let space = db.collection("colours").unwrap();
    let path = folder.path().join("v.jsonl");
    let vector: Vec<f32> = (1..=space.dim()).map(|v| v as f32).collect();
    let good = serde_json::json!({"key": "good", "vector": vector});
    let bad = serde_json::json!({"key": "short", "vector": [1, 2]});
    std::fs::write(&path, format!("{good}\n{bad}\n")).unwrap();
    let error =
        space.ingest(std::slice::from_ref(&path), &IngestOptions::default(), &|| false, &mut |_| {}).unwrap_err();
    let says = error.to_string();
    assert!(says.starts_with(&path.display().to_string()) && says.contains("--same-space"), "{says}");
    assert_eq!(error.reason(), "OTHER_SPACE");
    assert!(space.is_empty());
    let vouched = IngestOptions { same_space: true, ..IngestOptions::default() };
    let (report, told) = ingest(&space, &[path], &vouched);
    assert_eq!((report.written, told.failed[0]["reason"].as_str()), (1, Some("WRONG_DIMENSION")));
}

#[test]
fn a_pickle_of_tensors_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let rows = vectors_only(&folder.path().join("cellar"), 4);
    let refused = rows.ingest(&[fixture("tensors.pkl")], &IngestOptions::default(), &|| false, &mut |_| {});
    let told = match refused {
        Err(error) => error.to_string(),
        Ok(report) => {
            assert_eq!((report.written, report.failed), (0, 1));
            ingest(&rows, &[fixture("tensors.pkl")], &IngestOptions::default()).1.failed[0].to_string()
        }
    };
    assert!(told.contains("torch._utils._rebuild_tensor_v2") && told.contains("torch.stack(embeddings)"), "{told}");
    assert!(rows.is_empty());
}

#[test]
fn a_table_without_a_row_needs_no_model() {
    let (cellar, _) = cellar(FakeModel::new(), &[]);
    let new = NewCollection { dim: Some(3), vectors_only: true, ..NewCollection::default() };
    let vectors = cellar.db.create_collection("vectors", new).unwrap();
    for (name, text) in [("empty.jsonl", ""), ("empty.csv", "key,vector\n")] {
        let table = cellar.folder.path().join(name);
        std::fs::write(&table, text).unwrap();
        let (report, _) = ingest(&vectors, &[table], &IngestOptions::default());
        assert_eq!((report.found, report.failed), (0, 0), "{name}");
    }
}
