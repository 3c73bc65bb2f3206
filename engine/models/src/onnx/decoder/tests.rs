//! Goal: a sequence whose keys and values are gone is told so; it is never answered as if it had read less.
//!
//! Method: the tiny random bundle. Keys and values are taken away behind the decoder's back, as a panic in the middle of a
//! pass would, from a sequence alone and from one in a batch.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Barrier;
use std::time::Duration;

use super::*;
use crate::bundle::Bundle;
use crate::onnx::embed::Embed;
use crate::onnx::runtime::RuntimeOptions;
use crate::schedule::BatchOptions;

/// Steps of two sequences at once before one of them is hurt: enough for them to meet.
const ROUNDS: usize = 10;

struct Tiny {
    decoder: Decoder,
    /// One input embedding.
    row: Embeds,
}

fn tiny() -> Tiny {
    let batch = BatchOptions { wait: Duration::from_millis(200), ..BatchOptions::default() };
    let options = RuntimeOptions { intra_threads: Some(1), batch, ..RuntimeOptions::default() };
    let runtime = Runtime::load(options).unwrap_or_else(|error| panic!("{error}"));
    let bundle = Bundle::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_bundle")).unwrap();
    let (manifest, variant) = (bundle.manifest(), bundle.variant());
    let embed = Embed::load(&runtime, &bundle.path(&variant.embed_tokens), manifest).unwrap();
    let row = embed.run(&[7]).unwrap();
    let mut decoder = Decoder::load(&runtime, &bundle.path(&variant.decoder), manifest).unwrap();
    decoder.try_batch(&row);
    assert!(decoder.is_batched);
    Tiny { decoder, row }
}

impl Tiny {
    fn read(&self, past: &mut Past, positions: usize) {
        for _ in 0..positions {
            self.step(past).unwrap();
        }
    }

    fn step(&self, past: &mut Past) -> Result<Forward, ModelError> {
        self.decoder.run(&self.row, past, Keep::Last)
    }
}

/// Positions that were read and those that are kept, as the error says.
fn lost<T>(answer: Result<T, ModelError>) -> (usize, usize) {
    match answer.err() {
        Some(ModelError::Graph(GraphError::LostPast { expected, found, .. })) => (expected, found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sequence_without_its_past_is_refused_until_it_begins_anew() {
    let tiny = tiny();
    let mut past = tiny.decoder.past();
    let first = tiny.step(&mut past).unwrap();
    tiny.read(&mut past, 2);
    past.rest().unwrap();
    let two = past.own().unwrap().first(tiny.decoder.graph.shape(), 2).unwrap();

    for (left, found) in [(None, 0), (Some(two), 2)] {
        *past.slot().lock() = left;
        assert_eq!(lost(tiny.step(&mut past)), (3, found));
        assert_eq!(lost(past.truncate(1)), (3, found));
        assert_eq!(lost(past.try_clone()), (3, found));
        assert_eq!(past.len(), 3);
    }

    past.truncate(0).unwrap();
    assert_eq!(tiny.step(&mut past).unwrap(), first);
}

#[test]
fn one_that_lost_its_row_in_a_batch_is_refused_and_the_other_steps_on() {
    let tiny = tiny();
    let (mut hurt, mut whole, mut alone) = (tiny.decoder.past(), tiny.decoder.past(), tiny.decoder.past());
    tiny.read(&mut alone, ROUNDS + 1);
    let expected = tiny.step(&mut alone).unwrap();
    alone.rest().unwrap();

    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            tiny.step(&mut hurt).unwrap();
            for _ in 0..ROUNDS {
                both.wait();
                tiny.step(&mut hurt).unwrap();
            }
            assert!(hurt.slot().lock().is_none(), "it is not in the batch");
            tiny.decoder.batch.vacate(hurt.slot());
            both.wait();
            assert_eq!(lost(tiny.step(&mut hurt)), (ROUNDS + 1, 0));
        });
        scope.spawn(|| {
            tiny.step(&mut whole).unwrap();
            for _ in 0..ROUNDS {
                both.wait();
                tiny.step(&mut whole).unwrap();
            }
            both.wait();
            let found = tiny.step(&mut whole).unwrap();
            assert!(!is_far(&found.logits, &expected.logits));
        });
    });
    assert!(tiny.decoder.batch.stats().passes.get(1).is_some_and(|passes| *passes > 0));
}
