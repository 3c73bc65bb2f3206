//! Goal: each kind of source gives what another tool wrote, goes on where it was, and survives any byte being wrong.
//! Method: small files made by webdataset, NumPy, pickle and pyarrow (`tests/fixtures/sources/make_fixtures.py`).

use std::path::{Path, PathBuf};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sources").join(name)
}

fn open(path: &Path, options: &SourceOptions, from: Position) -> crate::Result<Shards> {
    Shards::open(&[path.to_owned()], options, from, Box::new(|_| Ok(())))
}

fn all(mut shards: Shards) -> Vec<Result<Found, Failure>> {
    std::iter::from_fn(|| shards.next()).collect()
}

fn read(name: &str) -> Vec<Result<Found, Failure>> {
    all(open(&fixture(name), &SourceOptions::default(), Position::default()).unwrap())
}

/// Every record of a fixture in which nothing is wrong.
fn whole(name: &str) -> Vec<Found> {
    read(name).into_iter().map(|found| found.unwrap_or_else(|f| panic!("{name}: {}: {}", f.place, f.error))).collect()
}

/// The colour of a record's picture.
fn colour(found: &Found) -> [u8; 3] {
    let Body::Bytes(bytes) = &found.body else { panic!("{} has no bytes", found.key) };
    let picture = fromagerie_models::decode_image(bytes, &fromagerie_models::ImageLimits::default()).unwrap();
    let middle = 3 * (8 * 16 + 8);
    // JPEG and WebP are off by a little.
    [0, 1, 2].map(|channel| if picture.data()[middle + channel] > 127 { 255 } else { 0 })
}

fn vectors(records: &[Found]) -> Vec<&[f32]> {
    assert!(records.iter().all(|found| matches!(found.body, Body::Vector(_))));
    records
        .iter()
        .filter_map(|found| if let Body::Vector(vector) = &found.body { Some(&vector[..]) } else { None })
        .collect()
}

#[test]
fn webdataset_shards_are_read_by_pattern() {
    let records = whole("wds-{00000..00001}.tar");
    let keys: Vec<_> = records.iter().map(|found| found.key.as_str()).collect();
    assert_eq!(keys, ["0/red", "0/green", "0/blue", "1/yellow", "1/cyan"]);
    let colours: Vec<_> = records.iter().map(colour).collect();
    assert_eq!(colours, [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]]);
    assert_eq!(records[1].caption, "a green field");
    assert_eq!(Value::Object(records[2].payload.clone()), serde_json::json!({"colour": "blue", "cls": 2}));
    assert!(records[2].uri.ends_with("wds-00000.tar#0/blue.webp"), "{}", records[2].uri);
}

#[test]
fn img2dataset_leaves_tables_and_counts_beside_its_tars() {
    let records = whole("img2dataset");
    assert_eq!(records.len(), 2);
    let blue = &records[1];
    assert_eq!((blue.key.as_str(), blue.caption.as_str()), ("000000001", "a blue field"));
    assert_eq!((blue.uri.as_str(), colour(blue)), ("https://example.org/blue.jpg", [0, 0, 255]));
    assert_eq!(blue.payload.keys().collect::<Vec<_>>(), ["exif", "height", "sha256", "status", "width"]);
}

#[test]
fn names_in_a_tar_are_keys_and_nothing_else() {
    let records = read("odd.tar");
    let found: Vec<_> = records.iter().flatten().map(|found| found.key.clone()).collect();
    assert_eq!(found, ["../../../../tmp/escaped", "/etc/absolute", &format!("gnu/{}", "n".repeat(300))]);
    assert!(!Path::new("/tmp/escaped.png").exists() && !Path::new("/etc/absolute.png").exists());
    let failed: Vec<_> = records.iter().filter_map(|record| record.as_ref().err()).collect();
    assert_eq!(failed.iter().map(|f| f.error.reason()).collect::<Vec<_>>(), ["UNSUPPORTED_SOURCE", "NO_PICTURE"]);
    assert_eq!(failed[1].key.as_deref(), Some("words"));
    assert_eq!(whole("pax.tar")[0].key, format!("pax/{}", "é".repeat(150)));
}

#[test]
fn a_sample_that_comes_again_right_behind_itself_is_no_part_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twice.tar");
    let bytes = std::fs::read(fixture("wds-00001.tar")).unwrap();
    // The first sample is 4096 bytes; then the whole shard, which begins with it.
    std::fs::write(&path, [&bytes[..4096], &bytes].concat()).unwrap();
    let keys = |path: &Path| -> Vec<String> {
        let records = all(open(path, &SourceOptions::default(), Position::default()).unwrap());
        records.into_iter().map(|record| record.unwrap().key).collect()
    };
    let (once, twice) = (keys(&fixture("wds-00001.tar")), keys(&path));
    assert_eq!(twice, [&once[..1], &once].concat());
}

#[test]
fn a_tar_that_was_cut_off_says_where_and_loses_nothing_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tar");
    let bytes = std::fs::read(fixture("wds-00001.tar")).unwrap();
    // Four members a sample, each a header and its blocks: 4096 bytes, and 4608 as the second picture is larger.
    for (len, keys, offset) in
        [(4096 + 100, 1, 4096), (4096 + 700, 1, 4096), (4096, 1, 4096), (8192, 1, 4096), (8704, 2, 8704)]
    {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let records = all(open(&path, &SourceOptions::default(), Position::default()).unwrap());
        let failed: Vec<_> = records.iter().filter_map(|record| record.as_ref().err()).collect();
        assert_eq!(records.len() - failed.len(), keys, "{len}");
        let [failure] = failed[..] else { panic!("{len}: {failed:?}") };
        assert_eq!((failure.error.reason(), failure.place.spot), ("TRUNCATED_SOURCE", Spot::Offset(offset)), "{len}");
        assert!(failure.place.source.ends_with("cut.tar") && failure.error.to_string().contains(&len.to_string()));
    }
}

#[test]
fn matrices_of_every_width_give_the_same_vectors() {
    let exact = whole("vectors-f4.npy");
    assert_eq!(exact.iter().map(|f| f.key.as_str()).collect::<Vec<_>>()[4], "vectors-f4/00000004");
    assert_eq!(vectors(&exact), vectors(&whole("vectors-f8.npy")));
    let half = whole("vectors-f2.npy");
    for (a, b) in vectors(&exact).concat().iter().zip(vectors(&half).concat()) {
        assert!((a - b).abs() <= a.abs() / 1024.0, "{a} {b}");
    }
    for (name, says) in [("vectors-big-f4.npy", ">f4"), ("fortran.npy", "Fortran"), ("objects.npy", "|O")] {
        let [Err(failure)] = &read(name)[..] else { panic!("{name}") };
        assert!(failure.stage == Stage::Open && failure.error.to_string().contains(says), "{name}: {}", failure.error);
    }
}

#[test]
fn a_matrix_that_was_cut_off_gives_its_whole_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.npy");
    let bytes = std::fs::read(fixture("vectors-f4.npy")).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    let records = all(open(&path, &SourceOptions::default(), Position::default()).unwrap());
    let [Ok(_), Ok(_), Ok(_), Err(failure)] = &records[..] else { panic!("{records:?}") };
    assert_eq!((failure.error.reason(), failure.place.spot), ("TRUNCATED_SOURCE", Spot::Row(3)));
    assert!(failure.error.to_string().contains("row 3 of 5"), "{}", failure.error);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = open(&fixture("objects.npy"), &SourceOptions::default(), Position::default()).unwrap().first_vectors();
    let error = error.unwrap_err();
    assert!(error.to_string().starts_with(&fixture("objects.npy").display().to_string()), "{error}");
    assert_eq!((error.reason(), error.kind().is_users_fault()), ("UNSUPPORTED_SOURCE", true));
}

#[test]
fn keys_stand_beside_their_vectors() {
    let keys = |options: &SourceOptions| {
        let records = all(open(&fixture("named.npy"), options, Position::default()).unwrap());
        records.into_iter().map(|found| found.unwrap().key).collect::<Vec<_>>()
    };
    let expected = ["a", "bb", "ccc", "dddd", "é"];
    assert_eq!(keys(&SourceOptions::default()), expected);
    for name in ["wide.keys.npy", "narrow.keys.npy"] {
        assert_eq!(keys(&SourceOptions { keys: Some(fixture(name)), ..SourceOptions::default() }), expected);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a\nb\n").unwrap();
    let short = SourceOptions { keys: Some(file.path().to_owned()), ..SourceOptions::default() };
    let records = all(open(&fixture("named.npy"), &short, Position::default()).unwrap());
    let [Err(failure)] = &records[..] else { panic!("{records:?}") };
    assert!(failure.error.to_string().starts_with("there are 2 keys in"), "{}", failure.error);
}

#[test]
fn pickles_of_every_protocol_give_the_same_vectors() {
    let (expected, last) = (whole("vectors-f4.npy"), format!("https://example.org/{}.jpg", "long".repeat(30)));
    for protocol in 2..=5 {
        let records = whole(&format!("embeddings-{protocol}.pkl"));
        assert_eq!(vectors(&records), vectors(&expected), "{protocol}");
        assert_eq!((records[0].key.as_str(), records[4].uri.as_str()), ("https://example.org/0.jpg", last.as_str()));
    }
    assert_eq!(vectors(&whole("rows.pkl")), vectors(&whole("vectors-f2.npy")));
}

#[test]
fn a_pickle_that_would_run_code_is_refused_by_name() {
    for (name, says) in [("evil.pkl", "posix.system"), ("ordered.pkl", "collections.OrderedDict")] {
        let [Err(failure)] = &read(name)[..] else { panic!("{name}") };
        assert_eq!(failure.error.reason(), "REFUSED_PICKLE");
        assert!(failure.error.to_string().contains(says), "{}", failure.error);
    }
    assert!(!Path::new("/tmp/fromagerie-was-here").exists());
}

#[cfg(feature = "parquet")]
mod columns {
    use super::*;

    #[test]
    fn parquet_and_arrow_give_pictures_captions_and_payload() {
        for name in ["pictures.parquet", "pictures.arrow"] {
            let records = whole(name);
            let colours: Vec<_> = records.iter().map(colour).collect();
            assert_eq!(colours, [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], "{name}");
            let (first, second) = (&records[0], &records[1]);
            assert_eq!((first.key.as_str(), first.caption.as_str()), ("red", "a red field"));
            let payload =
                serde_json::json!({"kind": "red", "score": 0.5, "tags": ["a", "red"], "taken": 0, "width": 16});
            assert_eq!(Value::Object(first.payload.clone()), payload, "{name}");
            assert!(!second.payload.contains_key("score"), "nothing is kept as nothing");
        }
        for name in ["gzip.parquet", "zstd.parquet", "lz4.parquet"] {
            assert_eq!(whole(name).iter().map(colour).collect::<Vec<_>>()[2], [0, 0, 255], "{name}");
        }
        let both = whole("struct.parquet");
        assert_eq!((both[3].caption.as_str(), colour(&both[3])), ("yellow", [255, 255, 0]));
        assert_eq!(both[3].key, "struct/00000003");
    }

    #[test]
    fn parquet_and_arrow_give_vectors() {
        let expected = whole("vectors-f4.npy");
        let fixed = whole("fixed.parquet");
        assert_eq!(vectors(&fixed), vectors(&expected));
        assert_eq!((fixed[1].key.as_str(), fixed[1].caption.as_str()), ("2", "green"));
        let arrow = open(&fixture("vectors.arrow"), &SourceOptions::default(), Position::default()).unwrap();
        assert_eq!((arrow.remaining(), vectors(&whole("vectors.arrow"))), (Some(5), vectors(&expected)));
        assert_eq!(arrow.first_vectors().unwrap(), Some(Vectors { dim: 4, space: Some([0xAB; 32]) }));
        let lists = read("lists.parquet");
        let failed: Vec<_> = lists.iter().filter_map(|record| record.as_ref().err()).collect();
        assert_eq!((failed.len(), failed[0].key.as_deref(), failed[0].place.spot), (1, Some("yellow"), Spot::Row(3)));
    }

    #[test]
    fn bombs_are_refused_or_read_in_small_parts() {
        let [Err(failure)] = &read("bomb-page.parquet")[..] else { panic!() };
        assert_eq!(failure.error.reason(), "SOURCE_TOO_LARGE");
        assert!(failure.error.to_string().contains("314572"), "{}", failure.error);
        let mut shards =
            open(&fixture("bomb-dictionary.parquet"), &SourceOptions::default(), Position::default()).unwrap();
        assert_eq!(shards.remaining(), Some(100_000));
        let first = shards.next().unwrap().unwrap();
        assert_eq!(first.body.len(), 2 << 20);
    }

    /// An Arrow file of `rows` rows that have no bytes.
    fn nulls(path: &Path, rows: usize) {
        use arrow_array::{ArrayRef, NullArray, RecordBatch};
        let column: ArrayRef = std::sync::Arc::new(NullArray::new(rows));
        let batch = RecordBatch::try_from_iter([("image", column)]).unwrap();
        let mut file =
            arrow_ipc::writer::FileWriter::try_new(std::fs::File::create(path).unwrap(), &batch.schema()).unwrap();
        file.write(&batch).unwrap();
        file.finish().unwrap();
    }

    #[test]
    fn rows_of_nothing_take_no_memory_and_are_no_more_than_a_file_has_bytes_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nulls.arrow");
        nulls(&path, 100_000);
        let mut shards = open(&path, &SourceOptions::default(), Position::default()).unwrap();
        assert_eq!(shards.remaining(), Some(100_000));
        assert_eq!(shards.next().unwrap().unwrap_err().error.reason(), "NO_PICTURE");
        nulls(&path, 1 << 40);
        let [Err(failure)] = &all(open(&path, &SourceOptions::default(), Position::default()).unwrap())[..] else {
            panic!()
        };
        assert_eq!(failure.error.reason(), "DAMAGED_SOURCE");
        assert!(failure.error.to_string().contains("1099511627776 rows in a file of"), "{}", failure.error);
    }
}

/// Fixtures that hold records, of every kind.
const GOOD: &[&str] = &[
    #[cfg(feature = "parquet")]
    "pictures.parquet",
    #[cfg(feature = "parquet")]
    "fixed.parquet",
    #[cfg(feature = "parquet")]
    "lists.parquet",
    #[cfg(feature = "parquet")]
    "zstd.parquet",
    #[cfg(feature = "parquet")]
    "pictures.arrow",
    #[cfg(feature = "parquet")]
    "vectors.arrow",
    "wds-00000.tar",
    "wds-{00000..00001}.tar",
    "img2dataset",
    "odd.tar",
    "pax.tar",
    "named.npy",
    "vectors-f2.npy",
    "embeddings-2.pkl",
    "embeddings-5.pkl",
    "rows.pkl",
];

#[test]
fn every_source_goes_on_where_it_was() {
    let text = |record: &Result<Found, Failure>| match record {
        Ok(found) => format!("{found:?}"),
        Err(failure) => format!("{:?} {} {}", failure.key, failure.place, failure.error),
    };
    for name in GOOD {
        let start = |from| open(&fixture(name), &SourceOptions::default(), from).unwrap();
        let expected: Vec<_> = all(start(Position::default())).iter().map(text).collect();
        let mut shards = start(Position::default());
        for done in 0..=expected.len() {
            let rest: Vec<_> = all(start(shards.position())).iter().map(text).collect();
            assert_eq!(rest, expected[done..], "{name}, after {done} of {}", expected.len());
            shards.next();
        }
    }
}

#[test]
fn any_byte_may_be_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = GOOD.iter().map(|name| fixture(name)).filter(|path| path.is_file()).collect();
    assert!(files.len() > 6);
    for file in files {
        let good = std::fs::read(&file).unwrap();
        let path = folder.path().join(file.file_name().unwrap());
        // Every byte of what is short, and three hundred of what is long; and the file cut off there.
        let step = good.len().div_ceil(300);
        for at in (0..good.len()).step_by(step) {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            let mut random = good.clone();
            random[at] = (at as u8).wrapping_mul(167).wrapping_add(91);
            for bytes in [&flipped[..], &random, &good[..at]] {
                std::fs::write(&path, bytes).unwrap();
                if let Ok(shards) = open(&path, &SourceOptions::default(), Position::default()) {
                    assert!(all(shards).len() < 1000, "{}", file.display());
                }
            }
        }
    }
}
