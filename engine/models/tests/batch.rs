//! Goal: a conversation's answers are the same whether its steps ran alone or met those of others, whoever comes, pauses,
//! goes, is cut, or feeds nonsense meanwhile.
//!
//! Method: the tiny random bundle twice in one process, with and without batches. Threads read random prompts and continue
//! them greedily in the first; the second says what each must be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Duration;

use fromagerie_models::*;
use sha2::{Digest, Sha256};

const PROMPTS: u64 = 128;
const THREADS: u64 = 8;
const STEPS: usize = 24;

fn bundle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_bundle")
}

fn model(dir: &Path, batch: BatchOptions) -> OnnxModel {
    let options = RuntimeOptions { intra_threads: Some(1), batch, ..RuntimeOptions::default() };
    let runtime = Runtime::load(options).unwrap_or_else(|error| panic!("{error}"));
    OnnxModel::load(&runtime, &Bundle::open(dir).unwrap()).unwrap()
}

fn batched() -> OnnxModel {
    model(&bundle(), BatchOptions { wait: Duration::from_millis(200), ..BatchOptions::default() })
}

fn alone() -> OnnxModel {
    model(&bundle(), BatchOptions::off())
}

/// A generator of numbers that are as random as a test needs.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Words and pictures in random order: a run of tokens, or rows that no token has.
fn prompt(model: &OnnxModel, seed: u64) -> Embeds {
    let mut random = Random(seed);
    let mut embeds = Embeds::empty(8);
    for _ in 0..=random.below(5) {
        let len = 1 + random.below(6);
        if random.below(3) == 0 {
            let rows: Vec<f32> = (0..8 * len).map(|_| random.below(2000) as f32 / 1000.0 - 1.0).collect();
            embeds.extend_rows(&rows, 8).unwrap();
        } else {
            let ids: Vec<u32> = (0..len).map(|_| random.below(267) as u32).collect();
            embeds.extend(&model.embed(&ids).unwrap()).unwrap();
        }
    }
    embeds
}

fn likeliest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32
}

/// What was said and seen on the way.
struct Reply {
    tokens: Vec<u32>,
    steps: Vec<Forward>,
}

fn reply(model: &OnnxModel, prompt: &Embeds, cache: &mut Cache) -> Reply {
    let mut forward = model.forward(prompt, cache).unwrap();
    let mut reply = Reply { tokens: Vec::new(), steps: Vec::new() };
    for _ in 0..STEPS {
        let token = likeliest(&forward.logits);
        forward = model.forward(&model.embed(&[token]).unwrap(), cache).unwrap();
        reply.tokens.push(token);
        reply.steps.push(forward.clone());
    }
    reply
}

#[track_caller]
fn assert_same(found: &Forward, expected: &Forward) {
    let off = found.logits.iter().zip(&expected.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "logits are off by {off}");
    let (a, b) = (found.query(0, 6).unwrap(), expected.query(0, 6).unwrap());
    let cosine: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    assert!(1.0 - cosine < 1e-5, "embeddings have a cosine of {cosine}");
}

#[test]
fn random_prompts_are_continued_as_they_are_alone() {
    let (batched, alone) = (batched(), alone());
    assert!(alone.batch_stats().is_none());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (batched, alone) = (&batched, &alone);
            scope.spawn(move || {
                for seed in (thread..PROMPTS).step_by(THREADS as usize) {
                    let prompt = prompt(alone, seed);
                    let found = reply(batched, &prompt, &mut batched.new_cache());
                    let expected = reply(alone, &prompt, &mut alone.new_cache());
                    assert_eq!(found.tokens, expected.tokens, "prompt {seed}");
                    found.steps.iter().zip(&expected.steps).for_each(|(a, b)| assert_same(a, b));
                }
            });
        }
    });
    let stats = batched.batch_stats().unwrap();
    assert_eq!(stats.steps(), PROMPTS * STEPS as u64);
    assert!(stats.passes.len() > 1 && stats.passes[1..].iter().sum::<u64>() > 10, "{stats:?}");
}

#[test]
fn members_that_pause_are_cut_copied_or_continued_stay_themselves() {
    let (batched, alone) = (batched(), alone());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (batched, alone) = (&batched, &alone);
            scope.spawn(move || {
                let mut random = Random(1000 + thread);
                let (mut cache, mut plain) = (batched.new_cache(), alone.new_cache());
                for _ in 0..60 {
                    let long = cache.len() > 50;
                    match random.below(10) {
                        0 => cache.rest().unwrap(),
                        1 => std::thread::sleep(Duration::from_millis(random.below(4))),
                        2 => {
                            let copy = cache.try_clone().unwrap();
                            drop(std::mem::replace(&mut cache, copy));
                        }
                        3 | 4 if !long => {
                            let ids: Vec<u32> = (0..2 + random.below(6)).map(|_| random.below(267) as u32).collect();
                            let rows = alone.embed(&ids).unwrap();
                            let (a, b) = (batched.forward(&rows, &mut cache), alone.forward(&rows, &mut plain));
                            assert_same(&a.unwrap(), &b.unwrap());
                        }
                        5 if !cache.is_empty() => {
                            let len = random.below(cache.len() as u64) as usize;
                            cache.truncate(len).unwrap();
                            plain.truncate(len).unwrap();
                        }
                        _ if long => {
                            (cache, plain) = (batched.new_cache(), alone.new_cache());
                        }
                        _ => {
                            let row = alone.embed(&[random.below(267) as u32]).unwrap();
                            let (a, b) = (batched.forward(&row, &mut cache), alone.forward(&row, &mut plain));
                            assert_same(&a.unwrap(), &b.unwrap());
                        }
                    }
                    assert_eq!((cache.len(), cache.bytes()), (plain.len(), plain.bytes()));
                }
            });
        }
    });
    assert!(batched.batch_stats().unwrap().passes.len() > 1);
}

#[test]
fn one_that_feeds_nonsense_fails_alone_and_can_go_on() {
    let (batched, alone) = (batched(), alone());
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (batched, alone, together) = (&batched, &alone, &together);
            scope.spawn(move || {
                let prompt = prompt(alone, 7000 + thread);
                let (mut cache, mut plain) = (batched.new_cache(), alone.new_cache());
                batched.forward(&prompt, &mut cache).unwrap();
                alone.forward(&prompt, &mut plain).unwrap();
                for step in 0..20u32 {
                    together.wait();
                    if thread == 0 && step % 4 == 1 {
                        let nonsense = Embeds::from_rows(vec![f32::NAN; 8], 8).unwrap();
                        let refused = batched.forward(&nonsense, &mut cache);
                        assert!(matches!(refused, Err(ModelError::Graph(GraphError::NotANumber { .. }))));
                        assert_eq!(cache.len(), plain.len());
                        continue;
                    }
                    let row = alone.embed(&[step * 13 + thread as u32]).unwrap();
                    let (a, b) = (batched.forward(&row, &mut cache), alone.forward(&row, &mut plain));
                    assert_same(&a.unwrap(), &b.unwrap());
                }
            });
        }
    });
    let stats = batched.batch_stats().unwrap();
    assert!(stats.passes.len() > 1, "{stats:?}");
}

/// Two threads that step together as often as they may; passes by size.
fn passes_of_two(model: &OnnxModel) -> Option<BatchStats> {
    let together = Barrier::new(2);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let together = &together;
            scope.spawn(move || {
                let mut cache = model.new_cache();
                model.forward(&prompt(model, thread), &mut cache).unwrap();
                for _ in 0..10 {
                    together.wait();
                    model.forward(&model.embed(&[5]).unwrap(), &mut cache).unwrap();
                }
            });
        }
    });
    model.batch_stats()
}

#[test]
fn what_does_not_fit_the_bound_of_memory_runs_alone() {
    let wait = Duration::from_millis(50);
    let model = model(&bundle(), BatchOptions { wait, bytes_max: 1, ..BatchOptions::default() });
    let one = model.forward(&model.embed(&[1, 2]).unwrap(), &mut model.new_cache()).unwrap();
    passes_of_two(&model);
    assert_eq!(model.forward(&model.embed(&[1, 2]).unwrap(), &mut model.new_cache()).unwrap(), one);
}

#[test]
fn a_graph_of_one_row_is_used_one_row_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("onnx")).unwrap();
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(bundle().join("fromagerie.json")).unwrap()).unwrap();
    for (name, entry) in manifest["files"].as_object_mut().unwrap() {
        let mut bytes = std::fs::read(bundle().join(name)).unwrap();
        if name.ends_with("decoder_model_merged.onnx") {
            bytes = with_one_row(&bytes);
        }
        *entry = serde_json::json!({"sha256": hex::encode(Sha256::digest(&bytes)), "bytes": bytes.len()});
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    std::fs::write(dir.path().join("fromagerie.json"), manifest.to_string()).unwrap();
    let fixed = model(dir.path(), BatchOptions { wait: Duration::from_millis(50), ..BatchOptions::default() });
    assert_eq!(passes_of_two(&fixed), None);
    let (prompt, alone) = (prompt(&fixed, 3), alone());
    let found = reply(&fixed, &prompt, &mut fixed.new_cache());
    assert_eq!(found.tokens, reply(&alone, &prompt, &mut alone.new_cache()).tokens);
}

/// The graph with its dimensions named `B` set to 1: in protobuf, `dim_param: "B"` becomes `dim_value: 1`, which has room
/// for a byte more than it needs.
fn with_one_row(graph: &[u8]) -> Vec<u8> {
    let (open, fixed) = (b"\x0a\x03\x12\x01B", b"\x0a\x03\x08\x81\x00");
    let mut bytes = graph.to_vec();
    let mut changed = 0;
    for at in 0..bytes.len() - open.len() {
        if bytes[at..].starts_with(open) {
            bytes[at..at + fixed.len()].copy_from_slice(fixed);
            changed += 1;
        }
    }
    assert!(changed > 8, "the fixture's graph names its batch otherwise");
    bytes
}
