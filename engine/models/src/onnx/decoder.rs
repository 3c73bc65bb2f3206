//! The decoder: sequences that grow, alone or in step with others.

use std::path::Path;
use std::sync::Arc;

use super::batch::{Batch, Job};
use super::decoder_graph::{DecoderGraph, Keep, Reading};
use super::error::GraphError;
use super::kept::Kept;
use super::past::Past;
use super::rows::{Bounds, Rows};
use super::runtime::Runtime;
use crate::bundle::manifest::Manifest;
use crate::cache::CacheState;
use crate::embeds::Embeds;
use crate::error::ModelError;
use crate::model::Forward;
use crate::schedule::BatchStats;

/// How far a step in a batch may be from the same step alone, relative to the largest value.
const TOLERANCE: f32 = 1e-2;

pub(super) struct Decoder {
    graph: DecoderGraph,
    batch: Arc<Batch>,
    /// Whether steps may meet others: the options want it, and the graph has shown that it can.
    is_batched: bool,
    wants_batches: bool,
    positions: usize,
}

impl Decoder {
    pub(super) fn load(runtime: &Runtime, path: &Path, manifest: &Manifest) -> Result<Self, GraphError> {
        let graph = DecoderGraph::load(runtime, path, manifest)?;
        Ok(Self {
            batch: Arc::new(Batch::new(graph.shape(), runtime.batch())),
            is_batched: false,
            wants_batches: runtime.batch().is_on(),
            positions: manifest.language_model.max_position_embeddings as usize,
            graph,
        })
    }

    /// A past of nothing.
    pub(super) fn past(&self) -> Past {
        Past::empty(self.graph.shape(), self.batch.clone())
    }

    pub(super) fn batch_stats(&self) -> Option<BatchStats> {
        self.is_batched.then(|| self.batch.stats())
    }

    pub(super) fn run(&self, embeds: &Embeds, past: &mut Past, keep: Keep) -> Result<Forward, ModelError> {
        self.check(embeds, past)?;
        let forward = if self.is_batched && embeds.len() == 1 && past.len() > 0 {
            let job = Job { row: embeds.data().to_vec(), slot: past.slot().clone(), len: past.len() };
            self.batch.step(&self.graph, past.member(), job)?
        } else {
            self.graph.alone(embeds.data(), &mut *past.own()?, keep)?
        };
        past.grow(embeds.len());
        Ok(forward)
    }

    /// Tries a batch of two rows, one of them padded and with a hole, against the same steps alone. A graph that reads a
    /// batch otherwise is used one row at a time.
    pub(super) fn try_batch(&mut self, row: &Embeds) {
        if !self.wants_batches {
            return;
        }
        let why = if !self.graph.takes_batches() {
            Some("the graph's inputs are of one row")
        } else {
            match self.batch_differs(row.data()) {
                Ok(false) => None,
                Ok(true) => Some("rows of a batch come out otherwise than alone"),
                Err(error) => {
                    tracing::debug!(%error, "a batch of two");
                    Some("the graph fails for a batch")
                }
            }
        };
        self.is_batched = why.is_none();
        if let Some(why) = why {
            tracing::warn!("concurrent conversations will not share passes: {why}");
        }
    }

    fn batch_differs(&self, row: &[f32]) -> Result<bool, GraphError> {
        let (mut slots, mut expected) = (Vec::new(), Vec::new());
        for steps in [1, 2] {
            let mut kept = Kept::nothing();
            self.graph.alone(&row.repeat(steps), &mut kept, Keep::Last)?;
            // The same steps alone. Read at once, positions may come out otherwise: with rounded weights a graph rounds what
            // it reads, too, and rows that differ by nearly nothing round differently.
            let mut alone = kept.first(self.graph.shape(), kept.len)?;
            let mut last = None;
            for _ in 0..steps {
                last = Some(self.graph.alone(row, &mut alone, Keep::Last)?);
            }
            expected.extend(last);
            slots.push(Arc::new(parking_lot::Mutex::new(Some(kept))));
        }
        let mut rows = Rows::new(self.graph.shape(), Bounds { rows_max: 2, bytes_max: usize::MAX });
        let mut last = Vec::new();
        for stepping in [&slots[1..], &slots[..]] {
            rows.admit(&slots)?;
            let seats = rows.admit(stepping)?;
            let mut embeds = vec![0.0; 2 * row.len()];
            seats.iter().for_each(|seat| embeds[seat * row.len()..(seat + 1) * row.len()].copy_from_slice(row));
            let past = rows.tensors().iter().map(Into::into).collect();
            let reading = Reading { rows: 2, added: 1, cached: rows.total(), keep: Keep::Last };
            let read = self.graph.run(&embeds, rows.mask(&seats), past, reading)?;
            rows.advance(read.present, &seats);
            last = read.forwards;
        }
        for (found, expected) in last.into_iter().zip(expected) {
            let found = found?;
            if is_far(&found.logits, &expected.logits) || is_far(&found.retrieval, &expected.retrieval) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check(&self, embeds: &Embeds, past: &Past) -> Result<(), ModelError> {
        if !past.fits(self.graph.shape()) {
            return Err(ModelError::ForeignCache);
        }
        if embeds.is_empty() {
            return Err(ModelError::Empty { what: "forward" });
        }
        if embeds.width() != self.graph.hidden() {
            return Err(ModelError::WrongWidth { expected: self.graph.hidden(), found: embeds.width() });
        }
        let (cached, added, limit) = (past.len(), embeds.len(), self.positions);
        if cached + added > limit {
            return Err(ModelError::ContextFull { cached, added, limit });
        }
        Ok(())
    }
}

fn is_far(found: &[f32], expected: &[f32]) -> bool {
    let largest = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    found.iter().zip(expected).any(|(a, b)| (a - b).abs() > TOLERANCE * largest)
}

#[cfg(test)]
mod tests;
