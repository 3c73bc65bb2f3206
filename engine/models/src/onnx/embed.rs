//! The graph `embed_tokens`: token ids to input embeddings.

use std::path::Path;

use ort::value::Tensor;

use super::error::GraphError;
use super::ports::{Dim, Port};
use super::runtime::Runtime;
use super::session::Graph;
use crate::bundle::manifest::Manifest;
use crate::embeds::Embeds;
use crate::error::ModelError;

pub(super) struct Embed {
    graph: Graph,
    hidden: usize,
    vocab_size: u32,
}

impl Embed {
    pub(super) fn load(runtime: &Runtime, path: &Path, manifest: &Manifest) -> Result<Self, GraphError> {
        let lm = &manifest.language_model;
        let (batch, len) = (Dim::Batch, Dim::Open("len"));
        let inputs = [Port::i64("input_ids", [batch, len])];
        let outputs = [Port::f32("inputs_embeds", [batch, len, Dim::Is(lm.hidden_size)])];
        // Looking rows up gains nothing from threads.
        let graph = Graph::load(runtime, ("embed_tokens", path), 1, &inputs, &outputs)?;
        Ok(Self { graph, hidden: manifest.hidden_size(), vocab_size: lm.vocab_size })
    }

    pub(super) fn run(&self, ids: &[u32]) -> Result<Embeds, ModelError> {
        if ids.is_empty() {
            return Ok(Embeds::empty(self.hidden));
        }
        if let Some(id) = ids.iter().find(|id| **id >= self.vocab_size) {
            return Err(ModelError::TokenOutOfRange { id: *id, vocab_size: self.vocab_size });
        }
        let values: Vec<i64> = ids.iter().copied().map(i64::from).collect();
        let input = Tensor::from_array(([1, ids.len()], values)).map_err(|error| self.graph.failed(&error))?;
        let shape = [1, ids.len(), self.hidden];
        let rows =
            self.graph.run(vec![("input_ids".into(), input.into())], |out| out.values("inputs_embeds", &shape))?;
        Embeds::from_rows(rows, self.hidden)
    }
}
