//! The graph `decoder_model_merged`: input embeddings and the past to logits, retrieval embeddings and the present.

use std::path::Path;

use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor, TensorRef};

use super::error::GraphError;
use super::kept::{GRAPH, HeadShape, Kept};
use super::ports::{Dim, Port};
use super::runtime::Runtime;
use super::session::{Graph, Inputs};
use crate::bundle::manifest::Manifest;
use crate::model::Forward;

/// The graph, which knows nothing of who reads what.
pub(super) struct DecoderGraph {
    graph: Graph,
    shape: HeadShape,
    hidden: usize,
    /// Logits of a position; 0 for a model that speaks no word.
    vocab_size: usize,
    dim: usize,
    /// Names of the past's inputs and the present's outputs, in the order of [`Kept::tensors`].
    names: Vec<(String, String)>,
}

/// Which positions' logits are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Last,
    All,
}

/// The sizes of one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) rows: usize,
    /// New positions of each row.
    pub(super) added: usize,
    /// Positions of each row's past, padding included.
    pub(super) cached: usize,
    pub(super) keep: Keep,
}

/// What one pass says of each row.
pub(super) struct Read {
    pub(super) forwards: Vec<Result<Forward, GraphError>>,
    /// `[rows, heads, cached + added, width]` each.
    pub(super) present: Vec<DynValue>,
}

impl DecoderGraph {
    pub(super) fn load(runtime: &Runtime, path: &Path, manifest: &Manifest) -> Result<Self, GraphError> {
        let lm = &manifest.language_model;
        let (batch, len, past, total) = (Dim::Batch, Dim::Open("len"), Dim::Open("past"), Dim::Open("past + len"));
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
        let names: Vec<(String, String)> = (0..lm.num_hidden_layers)
            .flat_map(|layer| {
                ["key", "value"]
                    .map(|part| (format!("past_key_values.{layer}.{part}"), format!("present.{layer}.{part}")))
            })
            .collect();
        inputs.extend(names.iter().map(|(name, _)| Port::f32(name, cached(past))));
        outputs.extend(names.iter().map(|(_, name)| Port::f32(name, cached(total))));
        Ok(Self {
            graph: Graph::load(runtime, (GRAPH, path), runtime.intra_threads(), &inputs, &outputs)?,
            shape: HeadShape {
                layers: lm.num_hidden_layers as usize,
                heads: lm.num_key_value_heads as usize,
                width: lm.head_dim as usize,
            },
            hidden: manifest.hidden_size(),
            vocab_size: if manifest.speaks() { manifest.vocab_size() } else { 0 },
            dim: manifest.dim(),
            names,
        })
    }

    pub(super) fn shape(&self) -> HeadShape {
        self.shape
    }

    /// Width of an input embedding.
    pub(super) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Whether the graph takes more than one row.
    pub(super) fn takes_batches(&self) -> bool {
        !self.graph.is_of_one_row()
    }

    /// Reads `embeds` (`[added, hidden]`) after what one sequence has kept, which is brought up to date if all went well.
    pub(super) fn alone(&self, embeds: &[f32], kept: &mut Kept, keep: Keep) -> Result<Forward, GraphError> {
        let (added, cached) = (embeds.len() / self.hidden, kept.len);
        let mask = vec![1; cached + added];
        let mut read = self.run(embeds, mask, kept.lend(self.shape)?, Reading { rows: 1, added, cached, keep })?;
        let forward = read.forwards.swap_remove(0)?;
        *kept = Kept { len: cached + added, tensors: read.present };
        Ok(forward)
    }

    /// Reads `embeds` (`[rows, added, hidden]`) after `past`. `mask`: `[rows, cached + added]`.
    pub(super) fn run(
        &self,
        embeds: &[f32],
        mask: Vec<i64>,
        past: Vec<SessionInputValue<'_>>,
        reading: Reading,
    ) -> Result<Read, GraphError> {
        let failed = |error: ort::Error| self.graph.failed(&error);
        let Reading { rows, added, cached, keep } = reading;
        let total = cached + added;
        let embeds = TensorRef::from_array_view(([rows, added, self.hidden], embeds)).map_err(failed)?;
        let mask = Tensor::from_array(([rows, total], mask)).map_err(failed)?;
        let count = Tensor::from_array((Vec::<usize>::new(), vec![i64::from(keep == Keep::Last)])).map_err(failed)?;
        let mut inputs: Inputs<'_> = vec![
            ("inputs_embeds".into(), embeds.into()),
            ("attention_mask".into(), mask.into()),
            ("num_logits_to_keep".into(), count.into()),
        ];
        inputs.extend(self.names.iter().zip(past).map(|((name, _), tensor)| (name.into(), tensor)));
        self.graph.run(inputs, |out| {
            let kept = if keep == Keep::All { added } else { 1 };
            let logits = match self.vocab_size {
                0 => vec![Ok(Vec::new()); rows],
                width => out.rows("logits", &[rows, kept, width])?,
            };
            let retrieval = out.rows("retrieval_embedding", &[rows, added, self.dim])?;
            let pair = |(logits, retrieval): (Result<_, _>, Result<_, _>)| {
                Ok(Forward { logits: logits?, retrieval: retrieval? })
            };
            let forwards = logits.into_iter().zip(retrieval).map(pair).collect();
            let shape = [rows, self.shape.heads, total, self.shape.width];
            let present = self.names.iter().map(|(_, name)| out.take(name, &shape)).collect::<Result<_, _>>()?;
            Ok(Read { forwards, present })
        })
    }
}
