//! The graph `retrieval_map`: an encoder's features to retrieval vectors, without the encoder.

use std::path::Path;

use ort::value::Tensor;

use super::error::GraphError;
use super::ports::{Dim, Port};
use super::runtime::Runtime;
use super::session::Graph;
use crate::bundle::manifest::Manifest;
use crate::error::ModelError;
use crate::model::{ImageEncoding, unit};

/// How far the map alone may be from the vision graph, in any value of a unit vector.
const TOLERANCE: f32 = 1e-4;

pub(super) struct RetrievalMap {
    graph: Graph,
    dim: usize,
    feature_dim: usize,
}

impl RetrievalMap {
    pub(super) fn load(runtime: &Runtime, path: &Path, manifest: &Manifest) -> Result<Self, GraphError> {
        let (batch, dim, features) = (Dim::Open("batch"), manifest.retrieval.dim, manifest.vision.feature_dim);
        let inputs = [Port::f32("features", [batch, Dim::Is(features)])];
        let outputs = [Port::f32("retrieval_embedding", [batch, Dim::Is(dim)])];
        let graph = Graph::load(runtime, ("retrieval_map", path), runtime.intra_threads(), &inputs, &outputs)?;
        Ok(Self { graph, dim: dim as usize, feature_dim: features as usize })
    }

    /// `[n, dim]` of `[n, feature_dim]`, each row of unit length.
    pub(super) fn run(&self, features: &[f32]) -> Result<Vec<f32>, ModelError> {
        let n = features.len() / self.feature_dim;
        if n * self.feature_dim != features.len() {
            return Err(ModelError::WrongWidth { expected: self.feature_dim, found: features.len() });
        }
        if n == 0 {
            return Ok(Vec::new());
        }
        let shape = [n, self.feature_dim];
        let input = Tensor::from_array((shape, features.to_vec())).map_err(|error| self.graph.failed(&error))?;
        let mut rows = self
            .graph
            .run(vec![("features".into(), input.into())], |out| out.values("retrieval_embedding", &[n, self.dim]))?;
        for row in rows.chunks_exact_mut(self.dim) {
            row.copy_from_slice(&unit(row.to_vec(), "a picture's features")?);
        }
        Ok(rows)
    }

    /// Holds the map to what the vision graph made of the same picture.
    pub(super) fn check(&self, encoding: &ImageEncoding) -> Result<(), ModelError> {
        let mapped = self.run(&encoding.features)?;
        let differs = |(a, b): (&f32, &f32)| (a - b).abs() > TOLERANCE;
        if mapped.iter().zip(&encoding.retrieval).any(differs) {
            return Err(ModelError::OtherMap);
        }
        Ok(())
    }
}
