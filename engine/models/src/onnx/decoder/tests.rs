//! Goal: a sequence whose keys and values are gone is told so; it is never answered as if it had read less.
//!
//! Method: the tiny random bundle. Keys and values are taken away behind the decoder's back, as a panic in the middle of a
//! pass would, from a sequence alone and from one in a batch.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use super::*;
use crate::bundle::Bundle;
use crate::onnx::embed::Embed;
use crate::onnx::runtime::RuntimeOptions;
use crate::schedule::BatchOptions;

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
    for past in [&mut hurt, &mut whole, &mut alone] {
        tiny.read(past, 4);
        past.rest().unwrap();
    }
    let job = |past: &Past| Job { row: tiny.row.data().to_vec(), slot: past.slot().clone(), len: past.len() };
    let batch = &tiny.decoder.batch;
    let both = batch.pass(&tiny.decoder.graph, &[job(&hurt), job(&whole)]);
    assert!(both.iter().all(Result::is_ok));
    for past in [&mut hurt, &mut whole] {
        past.grow(1);
        assert!(past.slot().lock().is_none(), "it is not in the batch");
    }

    batch.vacate(hurt.slot());
    let mut answers = batch.pass(&tiny.decoder.graph, &[job(&hurt), job(&whole)]);
    let found = answers.pop().unwrap().unwrap();
    assert_eq!(lost(answers.pop().unwrap().map_err(ModelError::from)), (5, 0));
    tiny.read(&mut alone, 1);
    let expected = tiny.step(&mut alone).unwrap();
    assert!(!is_far(&found.logits, &expected.logits));
}
