//! Goal: a bundle's answers are right, do not depend on how they were reached, and a bundle that does not fit is
//! refused when it is loaded.
//!
//! Method: `tiny_bundle` is a real two-layer decoder with random weights. Its answers are compared with those which
//! `make_fixtures.py` computed without ONNX Runtime; copies of it are broken one thing at a time.
//! Without libonnxruntime these tests fail, and say how to get it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use fromagerie_models::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn runtime() -> Runtime {
    Runtime::load(RuntimeOptions { intra_threads: Some(1), ..RuntimeOptions::default() })
        .unwrap_or_else(|error| panic!("{error}"))
}

fn load(dir: &Path) -> Result<OnnxModel, ModelError> {
    OnnxModel::load(&runtime(), &Bundle::open(dir)?)
}

fn tiny() -> OnnxModel {
    load(&fixtures().join("tiny_bundle")).unwrap()
}

/// A copy of the bundle in which `change` broke something and the digests are right again.
fn changed(change: impl FnOnce(&Path, &mut Value)) -> tempfile::TempDir {
    let (from, dir) = (fixtures().join("tiny_bundle"), tempfile::tempdir().unwrap());
    std::fs::create_dir(dir.path().join("onnx")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(from.join("fromagerie.json")).unwrap()).unwrap();
    let names: Vec<String> = manifest["files"].as_object().unwrap().keys().cloned().collect();
    for name in &names {
        std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    change(dir.path(), &mut manifest);
    for name in &names {
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        manifest["files"][name] = json!({"sha256": hex::encode(Sha256::digest(&bytes)), "bytes": bytes.len()});
    }
    std::fs::write(dir.path().join("fromagerie.json"), manifest.to_string()).unwrap();
    dir
}

fn refusal(change: impl FnOnce(&Path, &mut Value)) -> String {
    load(changed(change).path()).err().expect("a broken bundle was loaded").to_string()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "off by {off}");
}

#[test]
fn answers_equal_the_second_implementation() {
    let model = tiny();
    let expected: Value = serde_json::from_slice(&std::fs::read(fixtures().join("expected.json")).unwrap()).unwrap();
    let ids: Vec<u32> = floats(&expected["ids"]).iter().map(|id| *id as u32).collect();
    let embeds = model.embed(&ids).unwrap();
    assert_eq!((embeds.len(), embeds.width()), (ids.len(), 8));

    let last = model.forward(&embeds, &mut model.new_cache()).unwrap();
    assert_close(&last.logits, &floats(&expected["last_logits"]));
    assert_close(&last.retrieval, &floats(&expected["retrieval"]));
    let all = model.forward_all(&embeds, &mut model.new_cache()).unwrap();
    let vocab = model.manifest().vocab_size();
    assert_eq!(all.logits.len(), ids.len() * vocab);
    assert_close(&all.logits[..vocab], &floats(&expected["first_logits"]));
    assert_close(&all.logits[6 * vocab..], &last.logits);

    let ramp: Vec<f32> = (0..192).map(|at| -1.0 + 2.0 * at as f32 / 191.0).collect();
    let images = vec![Pixels::new(8, 8, ramp.iter().map(|v| -v).collect()).unwrap(), Pixels::new(8, 8, ramp).unwrap()];
    let encodings = model.encode_images(&images).unwrap();
    assert_close(&encodings[1].retrieval, &floats(&expected["vision"]["retrieval"]));
    assert_close(&encodings[1].visual_tokens, &floats(&expected["vision"]["visual_tokens"]));
    assert_close(&encodings[1].features, &floats(&expected["vision"]["features"]));
    assert_eq!(model.encode_images(&images[..1]).unwrap()[0], encodings[0]);
    assert!(model.encode_images(&[]).unwrap().is_empty());
}

#[test]
fn steps_with_a_cache_equal_one_pass_however_they_are_cut() {
    let model = tiny();
    let ids: Vec<u32> = (0..24).map(|n| n * 37 % 267).collect();
    let embeds = model.embed(&ids).unwrap();
    let whole = model.forward_all(&embeds, &mut model.new_cache()).unwrap();
    let (vocab, dim) = (model.manifest().vocab_size(), model.manifest().dim());
    for cuts in [vec![1; 24], vec![5, 1, 1, 17], vec![23, 1]] {
        let (mut cache, mut at) = (model.new_cache(), 0);
        for len in cuts {
            let step = model.forward(&embeds.slice(at..at + len).unwrap(), &mut cache).unwrap();
            assert_close(&step.retrieval, &whole.retrieval[at * dim..(at + len) * dim]);
            at += len;
            assert_close(&step.logits, &whole.logits[(at - 1) * vocab..at * vocab]);
            assert_eq!(cache.len(), at);
        }
    }
}

#[test]
fn a_cache_can_be_cut_and_copied() {
    let model = tiny();
    let embeds = model.embed(&[9, 8, 7, 6, 5, 4]).unwrap();
    let (mut cache, mut fresh) = (model.new_cache(), model.new_cache());
    assert_eq!((cache.is_empty(), cache.bytes()), (true, 0));
    model.forward(&embeds, &mut cache).unwrap();
    // two layers, a key and a value each, two heads of four floats
    assert_eq!(cache.bytes(), 6 * 2 * 2 * 2 * 4 * 4);

    let mut copy = cache.try_clone().unwrap();
    cache.truncate(2).unwrap();
    cache.truncate(100).unwrap();
    assert_eq!((cache.len(), copy.len()), (2, 6));
    let other = model.embed(&[100, 101]).unwrap();
    let cut = model.forward(&other, &mut cache).unwrap();
    model.forward(&embeds.slice(0..2).unwrap(), &mut fresh).unwrap();
    let straight = model.forward(&other, &mut fresh).unwrap();
    assert_close(&cut.logits, &straight.logits);
    assert_close(&cut.retrieval, &straight.retrieval);

    let after_copy = model.forward(&other, &mut copy).unwrap();
    assert!(after_copy.logits.iter().zip(&cut.logits).any(|(a, b)| (a - b).abs() > 1e-3), "the copy was cut too");
    copy.truncate(0).unwrap();
    assert_eq!((copy.len(), copy.bytes()), (0, 0));
    let again = model.forward(&embeds, &mut copy).unwrap();
    assert_close(&again.logits, &model.forward(&embeds, &mut model.new_cache()).unwrap().logits);
}

#[test]
fn bad_calls_are_errors_and_leave_the_cache_alone() {
    let model = tiny();
    let mut cache = model.new_cache();
    let embeds = model.embed(&[1, 2, 3]).unwrap();
    model.forward(&embeds, &mut cache).unwrap();
    let long = model.embed(&[1; 62]).unwrap();
    assert!(matches!(
        model.forward(&long, &mut cache),
        Err(ModelError::ContextFull { cached: 3, added: 62, limit: 64 })
    ));
    assert!(matches!(model.forward(&Embeds::empty(8), &mut cache), Err(ModelError::Empty { .. })));
    let narrow = Embeds::from_rows(vec![0.0; 7], 7).unwrap();
    assert!(matches!(model.forward(&narrow, &mut cache), Err(ModelError::WrongWidth { expected: 8, found: 7 })));
    let nan = Embeds::from_rows(vec![f32::NAN; 8], 8).unwrap();
    assert!(matches!(model.forward(&nan, &mut cache), Err(ModelError::Graph(_))));
    assert_eq!(cache.len(), 3);
    let foreign = &mut FakeModel::new().new_cache();
    assert!(matches!(model.forward(&embeds, foreign), Err(ModelError::ForeignCache)));
    assert!(matches!(model.embed(&[267]), Err(ModelError::TokenOutOfRange { id: 267, vocab_size: 267 })));
    assert!(model.embed(&[]).unwrap().is_empty());
    let small = Pixels::new(4, 8, vec![0.0; 96]).unwrap();
    assert!(matches!(model.encode_images(&[small]), Err(ModelError::WrongPixels { .. })));
    let infinite = Pixels::new(8, 8, vec![f32::MAX; 192]).unwrap();
    assert!(model.encode_images(&[infinite]).is_err());
}

#[test]
fn a_bundle_that_does_not_fit_its_manifest_is_refused() {
    for (pointer, value, says) in [
        ("/language_model/hidden_size", 16, "embed_tokens: output `inputs_embeds`"),
        ("/language_model/num_hidden_layers", 3, "decoder_model_merged: no input is named `past_key_values.2.key`"),
        ("/language_model/num_hidden_layers", 1, "decoder_model_merged: input `past_key_values.1.key` is not one"),
        ("/language_model/num_key_value_heads", 4, "decoder_model_merged: input `past_key_values.0.key`"),
        ("/language_model/head_dim", 8, "decoder_model_merged: input `past_key_values.0.key`"),
        ("/language_model/vocab_size", 300, "decoder_model_merged: output `logits`"),
        ("/retrieval/dim", 7, "decoder_model_merged: output `retrieval_embedding`"),
        ("/vision/num_visual_tokens", 3, "vision_encoder: output `visual_tokens`"),
        ("/vision/feature_dim", 4, "vision_encoder: output `features`"),
    ] {
        let text = refusal(|_, manifest| *manifest.pointer_mut(pointer).unwrap() = json!(value));
        assert!(text.contains(says), "{pointer}: {text}");
        if !text.contains("no input") && !text.contains("is not one") {
            assert!(text.contains("by the manifest it must be") && text.contains(&value.to_string()), "{text}");
        }
    }
}

#[test]
fn a_graph_with_other_names_or_no_graph_at_all_is_refused() {
    let text = refusal(|dir, _| {
        std::fs::copy(dir.join("onnx/embed_tokens.onnx"), dir.join("onnx/vision_encoder.onnx")).unwrap();
    });
    assert!(text.contains("vision_encoder: no input is named `pixel_values`; found: input_ids"), "{text}");
    let text = refusal(|dir, _| {
        std::fs::write(dir.join("onnx/embed_tokens.onnx"), "not a graph").unwrap();
    });
    assert!(text.contains("embed_tokens:") && text.contains("cannot be loaded"), "{text}");
}

#[test]
fn a_tokenizer_without_ret_is_refused() {
    let text = refusal(|dir, _| {
        let path = dir.join("tokenizer.json");
        let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        json["added_tokens"].as_array_mut().unwrap().retain(|token| token["content"] != "[RET]");
        std::fs::write(&path, json.to_string()).unwrap();
    });
    assert!(text.contains("tokenizer.json has no token 266, which is the [RET] token"), "{text}");
}

#[test]
fn a_missing_or_changed_file_is_refused_before_anything_is_loaded() {
    let dir = changed(|_, _| {});
    std::fs::write(dir.path().join("onnx/embed_tokens.onnx"), "x").unwrap();
    assert!(matches!(load(dir.path()), Err(ModelError::Bundle(BundleError::Length { .. }))));
    std::fs::remove_file(dir.path().join("onnx/embed_tokens.onnx")).unwrap();
    assert!(matches!(load(dir.path()), Err(ModelError::Bundle(BundleError::Missing { .. }))));
}

#[test]
fn threads_share_a_model() {
    let model: std::sync::Arc<dyn Model> = std::sync::Arc::new(tiny());
    let ids = model.encode("a red cat<|im_end|>", true).unwrap();
    let expected = model.forward(&model.embed(&ids).unwrap(), &mut model.new_cache()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut cache = model.new_cache();
                let mut last = None;
                for id in &ids {
                    last = Some(model.forward(&model.embed(&[*id]).unwrap(), &mut cache).unwrap());
                }
                assert_close(&last.unwrap().logits, &expected.logits);
            });
        }
    });
    let mut stream = model.token_stream();
    let text: String = ids.iter().filter_map(|id| stream.push(*id).unwrap()).collect();
    assert_eq!(text, "a red cat");
}
