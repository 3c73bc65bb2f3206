//! A bundle is opened whole or refused with the file named; manifests are refused for each wrong field.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_bundle")
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(fixture().join(MANIFEST)).unwrap()).unwrap()
}

/// A copy of the fixture that may be broken.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("onnx")).unwrap();
    for name in REQUIRED.iter().chain(&[MANIFEST, DECODER, EMBED_TOKENS]) {
        std::fs::copy(fixture().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn a_whole_bundle_opens() {
    let bundle = Bundle::open(fixture()).unwrap();
    assert_eq!((bundle.name(), bundle.manifest().dim(), bundle.manifest().hidden_size()), ("tiny", 6, 8));
    assert_eq!((bundle.generation().max_new_tokens, bundle.preprocessor().width()), (32, 8));
    assert!(bundle.path(DECODER).is_file());
}

#[test]
fn each_damage_names_the_file_and_the_remedy() {
    for name in REQUIRED.into_iter().chain([DECODER, EMBED_TOKENS]) {
        let dir = copy();
        let path = dir.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let refused = || Bundle::open(dir.path()).unwrap_err();
        let text = |error: &BundleError| {
            let text = error.to_string();
            assert!(text.contains(path.to_str().unwrap()) && text.contains("again"), "{text}");
        };

        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let error = refused();
        text(&error);
        assert!(matches!(&error, BundleError::Hash { expected, found, .. } if expected != found && found.len() == 64));

        for other in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat()] {
            std::fs::write(&path, other).unwrap();
            let error = refused();
            text(&error);
            let lengths = (bytes.len() as u64, other.len() as u64);
            assert!(matches!(error, BundleError::Length { expected, found, .. } if (expected, found) == lengths));
        }

        std::fs::remove_file(&path).unwrap();
        let error = refused();
        text(&error);
        assert!(matches!(error, BundleError::Missing { .. }));
    }
}

#[test]
fn a_directory_without_a_manifest_is_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Bundle::open(dir.path()), Err(BundleError::Missing { path }) if path.ends_with(MANIFEST)));
    assert!(matches!(Bundle::open("/nonexistent/place"), Err(BundleError::Missing { .. })));
    let file = dir.path().join(MANIFEST);
    std::fs::File::create(&file).unwrap().set_len(JSON_BYTES_MAX + 1).unwrap();
    assert!(matches!(Bundle::open(dir.path()), Err(BundleError::TooLong { .. })));
    assert!(matches!(Bundle::open(&file), Err(BundleError::Missing { .. })));
}

#[test]
fn an_unlisted_file_beside_the_graphs_is_refused() {
    let dir = copy();
    std::fs::write(dir.path().join("README.md"), "welcome").unwrap();
    Bundle::open(dir.path()).unwrap();
    std::fs::write(dir.path().join("onnx/decoder_model_merged.onnx_data"), "weights").unwrap();
    let error = Bundle::open(dir.path()).unwrap_err();
    assert!(
        matches!(&error, BundleError::Unlisted { path } if path.ends_with("decoder_model_merged.onnx_data")),
        "{error}"
    );
}

#[test]
fn every_field_is_checked() {
    let hash = "0".repeat(64);
    for (pointer, value, says) in [
        ("/format", json!("zip"), "`format` is zip; expected fromagerie-bundle"),
        ("/version", json!(2), "`version` is 2; expected 1"),
        ("/version", json!(-1), "invalid value"),
        ("/name", json!(""), "`name`"),
        ("/name", json!("a\nb"), "`name`"),
        (
            "/architecture",
            json!("flamingo"),
            "`architecture` is \"flamingo\", which this version does not know; it knows: fromage",
        ),
        ("/language_model/hidden_size", json!(0), "`language_model.hidden_size` is 0; expected 1 to 65536"),
        ("/language_model/num_hidden_layers", json!(4_000_000_000u32), "`language_model.num_hidden_layers`"),
        ("/language_model/num_key_value_heads", json!(0), "`language_model.num_key_value_heads`"),
        ("/language_model/head_dim", json!(1.5), "invalid type"),
        ("/language_model/vocab_size", json!(1), "`language_model.vocab_size`"),
        ("/language_model/max_position_embeddings", json!(0), "`language_model.max_position_embeddings`"),
        ("/vision/num_visual_tokens", json!(0), "`vision.num_visual_tokens`"),
        ("/vision/feature_dim", json!(u32::MAX), "`vision.feature_dim`"),
        ("/retrieval/dim", json!(0), "`retrieval.dim`"),
        ("/retrieval/ret_token_ids", json!([]), "`retrieval.ret_token_ids` is a list of 0"),
        ("/retrieval/ret_token_ids", json!([5, 5]), "`retrieval.ret_token_ids` is 5 twice"),
        ("/retrieval/ret_token_ids", json!([100_000]), "`retrieval.ret_token_ids` is 100000"),
        ("/dialogue", json!({"user": ["", ""]}), "missing field `assistant`"),
        ("/dialogue/user", json!(["one"]), "invalid length 1"),
        ("/dialogue/image_context_weight", json!(-1), "`dialogue.image_context_weight` is -1"),
        ("/dialogue/preamble", json!("x".repeat(70_000)), "bytes long; expected at most 65536"),
        ("/files", json!({}), "tokenizer.json to be listed"),
        ("/files/tokenizer.json/bytes", json!(0), "`files.tokenizer.json.bytes` is 0"),
        ("/files/tokenizer.json/sha256", json!("ABC"), "64 lower-case hexadecimal digits"),
    ] {
        let mut broken = manifest();
        *broken.pointer_mut(pointer).unwrap() = value;
        let error = Manifest::parse(broken.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{pointer}: {error}");
    }
    for place in ["", "/language_model", "/vision", "/retrieval", "/dialogue", "/files/tokenizer.json"] {
        let mut broken = manifest();
        broken.pointer_mut(place).unwrap()["extra"] = json!({"sha256": hash, "bytes": "x"});
        let error = Manifest::parse(broken.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("unknown field `extra`"), "{place}: {error}");
    }
}

/// A bundle with two variants: `int8`, which is damaged, and `fp32`.
fn two_variants() -> tempfile::TempDir {
    let (dir, mut manifest) = (copy(), manifest());
    let (decoder, other) = (dir.path().join(DECODER), "onnx/decoder_model_merged_int8.onnx");
    let mut bytes = std::fs::read(&decoder).unwrap();
    manifest["files"][other] = manifest["files"][DECODER].clone();
    bytes[100] ^= 1;
    std::fs::write(dir.path().join(other), bytes).unwrap();
    manifest["variants"] = json!({
        "fp32": {"decoder": DECODER, "embed_tokens": EMBED_TOKENS},
        "int8": {"decoder": other, "embed_tokens": EMBED_TOKENS},
    });
    manifest["default_variant"] = json!("fp32");
    std::fs::write(dir.path().join(MANIFEST), manifest.to_string()).unwrap();
    dir
}

#[test]
fn the_variant_in_use_is_checked_and_shares_the_space_of_the_others() {
    let dir = two_variants();
    let open = |variant: Option<&str>, bytes_max| {
        Bundle::open_with(dir.path(), &BundleOptions { variant: variant.map(String::from), bytes_max })
    };
    let bundle = open(None, None).unwrap();
    assert_eq!(bundle.variant().decoder, DECODER);
    assert_eq!(bundle.fingerprint(), Bundle::open(fixture()).unwrap().fingerprint());
    assert!(matches!(open(Some("int8"), None), Err(BundleError::Hash { .. })));
    let text = open(Some("q4"), None).unwrap_err().to_string();
    assert!(text.contains("no variant \"q4\"; it has: fp32, int8"), "{text}");

    let graphs = ["onnx/vision_encoder.onnx", DECODER, EMBED_TOKENS].map(|name| bundle.manifest().files[name].bytes);
    let all: u64 = graphs.iter().sum();
    assert!(open(None, Some(all)).is_ok(), "the other variant does not count");
    let text = open(None, Some(all - 1)).unwrap_err().to_string();
    assert!(text.contains(&format!("{all} bytes")) && text.contains("--model-bytes-max"), "{text}");
}

#[test]
fn a_manifest_whose_variants_are_not_there_is_refused() {
    for (change, says) in [
        (json!({"default_variant": "q4"}), "`default_variant` is \"q4\"; expected one of: fp32, int8"),
        (json!({"default_variant": null}), "`default_variant` is absent"),
        (
            json!({"variants": {"a": {"decoder": "onnx/x", "embed_tokens": EMBED_TOKENS}}, "default_variant": "a"}),
            "`variants.a`",
        ),
        (json!({"architecture": "clip"}), "`vision.num_visual_tokens` is 2; expected 0 to 0"),
        (json!({"architecture": "flamingo"}), "it knows: fromage, clip"),
    ] {
        let path = two_variants();
        let path = path.path().join(MANIFEST);
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (key, value) in change.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        let error = Manifest::parse(manifest.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{change}: {error}");
    }
}

#[test]
fn file_names_cannot_leave_the_directory() {
    for name in ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a\\b", "C:x", "", "a/", "a\0b", MANIFEST] {
        let mut broken = manifest();
        broken["files"][name] = json!({"sha256": "0".repeat(64), "bytes": 1});
        let error = Manifest::parse(broken.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("a relative path of plain names"), "{name:?}: {error}");
    }
}

#[test]
fn without_a_dialogue_a_newline_ends_a_turn() {
    let mut plain = manifest();
    plain.as_object_mut().unwrap().remove("dialogue");
    let dialogue = Manifest::parse(plain.to_string().as_bytes()).unwrap().dialogue;
    assert_eq!((dialogue.user, dialogue.preamble.as_str()), ([String::new(), "\n".into()], ""));
}

#[test]
fn the_fingerprint_covers_the_pictures_side_and_nothing_else() {
    let of = |manifest: &Value| fingerprint::of(&Manifest::parse(manifest.to_string().as_bytes()).unwrap());
    let base = of(&manifest());
    for (pointer, value, same) in [
        ("/name", json!("other"), true),
        ("/files/onnx~1decoder_model_merged.onnx/sha256", json!("1".repeat(64)), true),
        ("/files/tokenizer.json/sha256", json!("1".repeat(64)), true),
        ("/files/onnx~1vision_encoder.onnx/sha256", json!("1".repeat(64)), false),
        ("/files/preprocessor_config.json/sha256", json!("1".repeat(64)), false),
        ("/retrieval/dim", json!(7), false),
    ] {
        let mut other = manifest();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(of(&other) == base, same, "{pointer}");
    }
    let mut external = manifest();
    external["files"]["onnx/vision_encoder.onnx_data"] = json!({"sha256": "2".repeat(64), "bytes": 9});
    assert_ne!(of(&external), base, "external weights of the vision graph");
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0usize..2000, byte: u8) {
        let _ = Manifest::parse(&bytes);
        let _ = GenerationConfig::parse(&bytes, 10);
        let mut json = std::fs::read(fixture().join(MANIFEST)).unwrap();
        let at = at % json.len();
        json[at] = byte;
        let _ = Manifest::parse(&json);
    }
}
