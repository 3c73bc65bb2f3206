//! The graph `decoder_model_merged`: input embeddings and the past to logits, retrieval embeddings and the present.

use std::path::Path;

use ort::value::{Tensor, TensorRef};

use super::error::GraphError;
use super::past::{HeadShape, Past};
use super::ports::{Dim, Port};
use super::runtime::Runtime;
use super::session::{Graph, Inputs};
use crate::bundle::manifest::Manifest;
use crate::cache::CacheState;
use crate::embeds::Embeds;
use crate::error::ModelError;
use crate::model::Forward;

pub(super) struct Decoder {
    graph: Graph,
    layers: usize,
    head: HeadShape,
    hidden: usize,
    /// Logits of a position; 0 for a model that speaks no word.
    vocab_size: usize,
    dim: usize,
    positions: usize,
    /// Names of the past's inputs and the present's outputs, in the order of [`Past::tensors`].
    names: Vec<(String, String)>,
}

/// Which positions' logits are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Last,
    All,
}

impl Decoder {
    pub(super) fn load(runtime: &Runtime, path: &Path, manifest: &Manifest) -> Result<Self, GraphError> {
        let lm = &manifest.language_model;
        let (batch, len, past, total) =
            (Dim::Open("batch"), Dim::Open("len"), Dim::Open("past"), Dim::Open("past + len"));
        let cached = |len| [batch, Dim::Is(lm.num_key_value_heads), len, Dim::Is(lm.head_dim)];
        let mut inputs = vec![
            Port::f32("inputs_embeds", [batch, len, Dim::Is(lm.hidden_size)]),
            Port::i64("attention_mask", [batch, total]),
            Port::i64("num_logits_to_keep", []),
        ];
        let mut outputs = vec![Port::f32("retrieval_embedding", [batch, len, Dim::Is(manifest.retrieval.dim)])];
        if manifest.speaks() {
            outputs.push(Port::f32("logits", [batch, Dim::Open("kept"), Dim::Is(lm.vocab_size)]));
        }
        let layers = 0..lm.num_hidden_layers;
        let names: Vec<(String, String)> = layers
            .flat_map(|layer| {
                ["key", "value"]
                    .map(|part| (format!("past_key_values.{layer}.{part}"), format!("present.{layer}.{part}")))
            })
            .collect();
        inputs.extend(names.iter().map(|(name, _)| Port::f32(name, cached(past))));
        outputs.extend(names.iter().map(|(_, name)| Port::f32(name, cached(total))));
        let name = ("decoder_model_merged", path);
        Ok(Self {
            graph: Graph::load(runtime, name, runtime.intra_threads(), &inputs, &outputs)?,
            layers: lm.num_hidden_layers as usize,
            head: HeadShape { heads: lm.num_key_value_heads as usize, width: lm.head_dim as usize },
            hidden: manifest.hidden_size(),
            vocab_size: if manifest.speaks() { manifest.vocab_size() } else { 0 },
            dim: manifest.dim(),
            positions: lm.max_position_embeddings as usize,
            names,
        })
    }

    /// A past of nothing.
    pub(super) fn past(&self) -> Past {
        Past::empty(self.head, self.layers)
    }

    pub(super) fn run(&self, embeds: &Embeds, past: &mut Past, keep: Keep) -> Result<Forward, ModelError> {
        self.check(embeds, past)?;
        let (added, cached) = (embeds.len(), past.len());
        let total = cached + added;
        let forward = self.graph.run(self.inputs(embeds, past, keep)?, |out| {
            let kept = if keep == Keep::All { added } else { 1 };
            let logits = match self.vocab_size {
                0 => Vec::new(),
                width => out.values("logits", &[1, kept, width])?,
            };
            let retrieval = out.values("retrieval_embedding", &[1, added, self.dim])?;
            let shape = [1, self.head.heads, total, self.head.width];
            let present = self.names.iter().map(|(_, name)| out.take(name, &shape)).collect::<Result<_, _>>()?;
            Ok((Forward { logits, retrieval }, present))
        });
        // Everything has succeeded by now; before, the past was only lent.
        let (forward, present) = forward?;
        past.replace(total, present);
        Ok(forward)
    }

    fn inputs<'v>(&'v self, embeds: &'v Embeds, past: &'v Past, keep: Keep) -> Result<Inputs<'v>, GraphError> {
        let failed = |error: ort::Error| self.graph.failed(&error);
        let (added, total) = (embeds.len(), past.len() + embeds.len());
        let rows = TensorRef::from_array_view(([1, added, self.hidden], embeds.data())).map_err(failed)?;
        let mask = Tensor::from_array(([1, total], vec![1i64; total])).map_err(failed)?;
        let count = i64::from(keep == Keep::Last);
        let count = Tensor::from_array((Vec::<usize>::new(), vec![count])).map_err(failed)?;
        let mut inputs: Inputs<'v> = vec![
            ("inputs_embeds".into(), rows.into()),
            ("attention_mask".into(), mask.into()),
            ("num_logits_to_keep".into(), count.into()),
        ];
        inputs.extend(self.names.iter().zip(past.lend()?).map(|((name, _), tensor)| (name.into(), tensor)));
        Ok(inputs)
    }

    fn check(&self, embeds: &Embeds, past: &Past) -> Result<(), ModelError> {
        if !past.fits(self.head, self.layers) {
            return Err(ModelError::ForeignCache);
        }
        if embeds.is_empty() {
            return Err(ModelError::Empty { what: "forward" });
        }
        if embeds.width() != self.hidden {
            return Err(ModelError::WrongWidth { expected: self.hidden, found: embeds.width() });
        }
        let (cached, added, limit) = (past.len(), embeds.len(), self.positions);
        if cached + added > limit {
            return Err(ModelError::ContextFull { cached, added, limit });
        }
        Ok(())
    }
}
