//! Goal: bad input gets an error that names the thing, the value and the remedy, with the exit code it deserves, and
//! nothing is lost. Method: the binary, fed with everything that people feed to binaries.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{fromagerie, json, picture, png, root, run, tiny_bundle};

/// Runs `ingest` of one folder into a fresh database; the exit code and the lines.
fn ingest(db: &Path, folder: &Path) -> (i32, Vec<serde_json::Value>, String) {
    let mut command = fromagerie(&["ingest", "--collection", "pictures", "--db"]);
    json(command.arg(db).arg("--bundle").arg(tiny_bundle()).arg(folder), "")
}

/// The header of a PNG with sides of this many pixels, and nothing after it.
fn png_header(side: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(side.to_be_bytes());
    chunk.extend(side.to_be_bytes());
    chunk.extend([8, 6, 0, 0, 0]);
    let mut crc = u32::MAX;
    for byte in &chunk {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(chunk);
    bytes.extend((!crc).to_be_bytes());
    bytes
}

#[test]
fn pictures_of_every_kind_are_taken_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("pictures");
    std::fs::create_dir(&source).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(source.join(name), bytes).unwrap();
    put("text.jpg", b"Dear diary, I am not a photograph.");
    let whole = std::fs::read(picture("rgb.png")).unwrap();
    put("truncated.png", &whole[..whole.len() / 2]);
    put("huge.png", &png_header(60_000));
    put("empty.gif", b"");
    for name in ["animated.gif", "cmyk.jpg", "gray16.png", "palette_transparent.png", "rotated.jpg"] {
        std::fs::copy(picture(name), source.join(name)).unwrap();
    }
    let (code, lines, _) = ingest(&folder.path().join("cellar"), &source);
    assert_eq!(code, 1, "partly: {lines:?}");
    let failed: Vec<String> = lines
        .iter()
        .filter(|l| l["event"] == "failed")
        .map(|l| format!("{} {} {}", l["key"], l["reason"], l["message"].as_str().unwrap()))
        .collect();
    let expected = [
        ("empty.gif", "NOT_AN_IMAGE", "not an image"),
        ("huge.png", "IMAGE_TOO_LARGE", "60000x60000"),
        ("text.jpg", "NOT_AN_IMAGE", "text"),
        ("truncated.png", "TRUNCATED_IMAGE", "ends before"),
    ];
    assert_eq!(failed.len(), expected.len(), "{failed:?}");
    for (line, (key, reason, says)) in failed.iter().zip(expected) {
        assert!(line.contains(key) && line.contains(reason) && line.contains(says), "{line}");
    }
    let summary = lines.last().unwrap();
    assert_eq!((summary["event"].as_str(), summary["written"].as_u64()), (Some("summary"), Some(5)));
}

#[test]
fn folders_without_pictures_and_without_being_there() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, _, says) = ingest(&folder.path().join("cellar"), &empty);
    assert!(code == 2 && says.contains("holds no pictures"), "{code}: {says}");
    let (code, _, says) = ingest(&folder.path().join("cellar"), Path::new("/nowhere"));
    assert!(code == 2 && says.contains("/nowhere"), "{code}: {says}");
}

/// A vector as NumPy writes it.
fn npy(values: &[f32], shape: &str) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn queries_that_cannot_be_answered_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let (db, source) = (folder.path().join("cellar"), folder.path().join("pictures"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("red.png"), png([255, 0, 0])).unwrap();
    std::fs::write(source.join("blue.png"), png([0, 0, 255])).unwrap();
    assert_eq!(ingest(&db, &source).0, 0);
    let file = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good.npy", npy(&[1.0, 0.5, 0.0, 0.0, 0.0, 0.1], "(6,)"));
    let search = |arguments: &[&str]| {
        let mut command = fromagerie(&["search", "--collection", "pictures", "--db"]);
        json(command.arg(&db).arg("--bundle").arg(tiny_bundle()).args(arguments), "")
    };
    let (code, lines, _) = search(&["--vector-file", &good, "--limit", "2"]);
    assert_eq!(code, 0);
    let hits = lines.last().unwrap()["hits"].as_array().unwrap();
    assert!(hits.len() == 2 && hits[0]["score"].as_f64() >= hits[1]["score"].as_f64(), "{hits:?}");
    assert_eq!(search(&["--key", "red.png"]).1.last().unwrap()["hits"][0]["key"], "blue.png");

    let wrong_dim = file("dim.npy", npy(&[1.0; 5], "(5,)"));
    let nan = file("nan.npy", npy(&[f32::NAN; 6], "(6,)"));
    let text = file("text.npy", b"not numpy".to_vec());
    let matrix = file("matrix.npy", npy(&[1.0; 12], "(2, 6)"));
    let short = file("short.npy", npy(&[1.0; 3], "(6,)"));
    let cases: [(&[&str], &str); 8] = [
        (&["--vector-file", &wrong_dim], "5 dimensions, and collection \"pictures\" has 6"),
        (&["--vector-file", &nan], "value 0 is NaN"),
        (&["--vector-file", &text], "not a .npy file"),
        (&["--vector-file", &matrix], "one vector is wanted"),
        (&["--vector-file", &short], "ends early"),
        (&["--key", "nothing"], "no item with key \"nothing\""),
        (&["--image", "/nowhere.png"], "/nowhere.png"),
        (&["--text", "red", "--limit", "0"], "limit is 0; it must be 1 to 1000"),
    ];
    for (arguments, says) in cases {
        let (code, lines, stderr) = search(arguments);
        assert!(code == 2 && stderr.contains(says), "{arguments:?}: {code}: {stderr}");
        assert!(lines.last().unwrap()["error"]["message"].as_str().unwrap().contains(says));
    }
    let mut unknown = fromagerie(&["search", "--collection", "picture", "--text", "red", "--db"]);
    let (code, _, says) = json(unknown.arg(&db), "");
    assert!(code == 2 && says.contains("no collection \"picture\"; known: pictures"), "{says}");
    let mut long = fromagerie(&["search", "--collection", "pictures", "--text"]);
    let (code, _, says) =
        json(long.arg("word ".repeat(99)).arg("--db").arg(&db).arg("--bundle").arg(tiny_bundle()), "");
    assert!(code == 2 && says.contains("tokens, and the model's context leaves room for 64"), "{says}");
    let no_db = folder.path().join("none");
    let (code, _, says) = json(fromagerie(&["verify", "--db"]).arg(&no_db), "");
    assert!(code == 2 && says.contains("no database at"), "{says}");
    assert!(!no_db.exists(), "a command that only reads made a directory");
}

#[test]
fn items_are_changed_one_by_one_or_by_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (db, source) = (folder.path().join("cellar"), folder.path().join("pictures"));
    std::fs::create_dir(&source).unwrap();
    for (name, colour) in [("red.png", [255, 0, 0]), ("blue.png", [0, 0, 255])] {
        std::fs::write(source.join(name), png(colour)).unwrap();
    }
    assert_eq!(ingest(&db, &source).0, 0);
    let update = |arguments: &[&str], input: &str| {
        let mut command = fromagerie(&["update", "--collection", "pictures", "--db"]);
        json(command.arg(&db).arg("--bundle").arg(tiny_bundle()).args(arguments), input)
    };
    let list = || {
        let (_, mut lines, _) = json(fromagerie(&["list", "--collection", "pictures", "--db"]).arg(&db), "");
        lines.pop();
        lines
    };
    let before = list();
    let (code, lines, _) = update(&["red.png", "--caption", "so red", "--payload", "n=1", "--payload", "mood=hot"], "");
    assert_eq!((code, lines.last().unwrap()["updated"].as_u64()), (0, Some(1)));
    let input = concat!(
        "\u{feff}{\"key\":\"red.png\",\"payload\":{\"mood\":null,\"n\":[2]}}\n\n{\"key\":\"none\",\"caption\":\"x\"}\n",
        "{\"key\":\"blue.png\",\"colour\":1}\n{\"key\":\"blue.png\",\"uri\":\"file:///b\"}"
    );
    let (code, lines, _) = update(&["--input", "-"], input);
    let summary = lines.last().unwrap();
    assert_eq!((code, summary["updated"].as_u64(), summary["failed"].as_u64()), (1, Some(2), Some(2)));
    let failed: Vec<_> = lines.iter().filter(|line| line["event"] == "failed").collect();
    assert_eq!((&failed[0]["place"], &failed[0]["reason"]), (&"standard input line 4".into(), &"BAD_LINE".into()));
    assert!(failed[0]["message"].as_str().unwrap().contains("unknown field `colour`"), "{}", failed[0]);
    assert_eq!((&failed[1]["place"], &failed[1]["reason"]), (&"none".into(), &"UNKNOWN_KEY".into()));
    let after = list();
    assert_eq!((&after[0]["uri"], &after[0]["caption"]), (&"file:///b".into(), &before[0]["caption"]));
    assert_eq!((&after[1]["caption"], &after[1]["payload"]), (&"so red".into(), &serde_json::json!({"n": [2]})));
    assert_eq!(after[1]["content_hash"], before[1]["content_hash"]);

    let picture = source.join("blue.png");
    assert_eq!(update(&["red.png", "--image", picture.to_str().unwrap(), "--without", "n"], "").0, 0);
    let after = list();
    assert_eq!((&after[1]["content_hash"], &after[1]["caption"]), (&before[0]["content_hash"], &"so red".into()));
    assert_eq!(after[1]["payload"], serde_json::json!({}));
    for (arguments, says) in [
        (&["none", "--caption", "x"][..], "no item with key \"none\""),
        (&["--input", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (&["red.png", "--image", "/nowhere.png"], "/nowhere.png"),
        (&["red.png"], "nothing changes"),
        (&["red.png", "--payload", "x=1", "--without", "x"], "--payload sets \"x\" and --without removes it"),
        (&["red.png", "--payload", "=1"], "it must be NAME=VALUE"),
        (&[], "KEY"),
    ] {
        let (code, _, stderr) = update(arguments, "");
        assert!(code == 2 && stderr.contains(says), "{arguments:?}: {code}: {stderr}");
    }
    assert_eq!(list(), after);
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("cellar");
    let _server = common::Served::start(&db, Some(&tiny_bundle()), &[]);
    let (code, _, says) = json(fromagerie(&["verify", "--db"]).arg(&db), "");
    assert!(code == 2 && says.contains("is open elsewhere, held by"), "{code}: {says}");
    assert!(says.contains("pid"), "{says}");
}

#[test]
fn a_bundle_that_is_not_whole_is_refused_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let to = folder.path().join(name);
        std::fs::create_dir_all(to.join("onnx")).unwrap();
        for file in [
            "fromagerie.json",
            "tokenizer.json",
            "preprocessor_config.json",
            "generation_config.json",
            "onnx/vision_encoder.onnx",
            "onnx/embed_tokens.onnx",
            "onnx/decoder_model_merged.onnx",
        ] {
            std::fs::copy(tiny_bundle().join(file), to.join(file)).unwrap();
        }
        to
    };
    let missing = copy("missing");
    std::fs::remove_file(missing.join("tokenizer.json")).unwrap();
    let changed = copy("changed");
    let graph = changed.join("onnx/decoder_model_merged.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    let cases = [
        (missing, "tokenizer.json"),
        (changed, "decoder_model_merged.onnx"),
        (folder.path().join("nothing"), "fromagerie.json"),
    ];
    for (bundle, says) in cases {
        let mut command = fromagerie(&["serve", "--listen", "127.0.0.1:0", "--db"]);
        let output = run(command.arg(folder.path().join("cellar")).arg("--bundle").arg(&bundle), "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
        assert!(output.stdout.is_empty(), "it listened");
    }
}

#[test]
fn a_runtime_that_is_not_one_is_an_error_with_a_remedy() {
    let text = root().join("README.md");
    let mut doctor = fromagerie(&["doctor", "--bundle"]);
    let (code, lines, _) = json(doctor.arg(tiny_bundle()).arg("--onnxruntime").arg(&text), "");
    assert_eq!(code, 3);
    let problem = lines.iter().find_map(|l| l["problem"].as_str()).unwrap();
    assert!(problem.contains("README.md"), "{problem}");
    let (code, lines, _) = json(fromagerie(&["doctor", "--bundle"]).arg(tiny_bundle()), "");
    assert_eq!(code, 0, "{lines:?}");
}

#[test]
fn generate_continues_prompts_without_a_database() {
    let mut command = fromagerie(&["generate", "--bundle"]);
    let input = format!(
        "{}\n{}\nnot json\n{}\n",
        r#"{"parts":[{"text":"hi"}],"max_tokens":4,"ret_scale":1.0,"ret_bias":-50.0,"force_ret":true,"seed":0}"#,
        serde_json::json!({"parts": [{"image": picture("rgb.png")}, {"text": "hi"}], "max_tokens": 4}),
        serde_json::json!({"parts": [{"text": "word ".repeat(99)}], "max_tokens": 4}),
    );
    let (code, lines, says) = json(command.arg(tiny_bundle()), &input);
    assert_eq!(code, 1, "{lines:?}");
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["ret"].as_array().unwrap().len(), 1, "it was forced");
    assert_eq!(lines[0]["ret"][0]["embedding"].as_array().unwrap().len(), 6);
    assert_eq!(lines[0]["tokens"].as_array().unwrap().len(), lines[0]["ret_probability"].as_array().unwrap().len());
    assert!(lines[2]["error"]["message"].as_str().unwrap().contains("input line 3: "), "{says}");
    assert!(lines[3]["error"]["message"].as_str().unwrap().contains("leaves room for 60"), "{says}");
    assert_eq!((&lines[4]["prompts"], &lines[4]["failed"]), (&4.into(), &2.into()));
}

#[test]
fn captions_are_a_table_that_ingest_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: Vec<u8>| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (red, blue) = (file("red.png", png([255, 0, 0])), file("blue.png", png([0, 0, 255])));
    let broken = file("broken.png", b"no picture".to_vec());
    let caption = |pictures: &[&str]| {
        let mut command = fromagerie(&["caption", "--max-tokens", "4", "--bundle"]);
        command.arg(tiny_bundle()).args(pictures);
        command
    };
    let (code, lines, says) = json(&mut caption(&[&red, &broken, &blue, "/nowhere.png"]), "");
    assert_eq!(code, 1, "{lines:?}");
    assert_eq!((&lines[0]["file"], &lines[2]["file"]), (&red.as_str().into(), &blue.as_str().into()));
    assert!(lines[1]["error"]["message"].as_str().unwrap().contains(&broken), "{says}");
    assert!(lines[3]["error"]["message"].as_str().unwrap().contains("/nowhere.png"), "{says}");
    assert_eq!((&lines[4]["captions"], &lines[4]["failed"]), (&2.into(), &2.into()));

    let table = run(&mut caption(&[&red, &blue]), "").stdout;
    assert_eq!(table.iter().filter(|byte| **byte == b'\n').count(), 3);
    let table = file("captions.tsv", table);
    let (code, lines, says) = ingest(&folder.path().join("cellar"), Path::new(&table));
    assert_eq!((code, &lines.last().unwrap()["written"]), (0, &2.into()), "{says}");
}

#[test]
fn a_public_address_needs_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = fromagerie(&["serve", "--listen", "0.0.0.0:0", "--db"]);
    let output = run(command.arg(folder.path().join("cellar")), "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("FROMAGERIE_TOKEN") && stderr.contains("--allow-public"), "{stderr}");
    for (token, says) in [("", "the token is empty"), ("a b", "no call can carry spaces")] {
        let mut command = fromagerie(&["serve", "--listen", "0.0.0.0:0", "--token", token, "--db"]);
        let output = run(command.arg(folder.path().join("cellar")), "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && stderr.contains(says), "{token:?}: {stderr}");
    }
}
