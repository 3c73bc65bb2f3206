//! The graph `vision_encoder`: a batch of pictures to vectors, rows for the prompt, and features.

use std::path::Path;

use ort::value::Tensor;

use super::error::GraphError;
use super::ports::{Dim, Port};
use super::runtime::Runtime;
use super::session::Graph;
use crate::bundle::manifest::Manifest;
use crate::error::ModelError;
use crate::image::{Pixels, Preprocessor};
use crate::model::{ImageEncoding, unit};

pub(super) struct Vision {
    graph: Graph,
    width: u32,
    height: u32,
    dim: usize,
    feature_dim: usize,
    visual_tokens: usize,
    hidden: usize,
}

impl Vision {
    pub(super) fn load(
        runtime: &Runtime,
        path: &Path,
        manifest: &Manifest,
        preprocessor: &Preprocessor,
    ) -> Result<Self, GraphError> {
        let (width, height, batch) = (preprocessor.width(), preprocessor.height(), Dim::Open("batch"));
        let (dim, hidden) = (manifest.retrieval.dim, manifest.language_model.hidden_size);
        let (tokens, features) = (manifest.vision.num_visual_tokens, manifest.vision.feature_dim);
        let inputs = [Port::f32("pixel_values", [batch, Dim::Is(3), Dim::Is(height), Dim::Is(width)])];
        let mut outputs = vec![
            Port::f32("retrieval_embedding", [batch, Dim::Is(dim)]),
            Port::f32("features", [batch, Dim::Is(features)]),
        ];
        if tokens > 0 {
            outputs.push(Port::f32("visual_tokens", [batch, Dim::Is(tokens), Dim::Is(hidden)]));
        }
        let graph = Graph::load(runtime, ("vision_encoder", path), runtime.intra_threads(), &inputs, &outputs)?;
        Ok(Self {
            graph,
            width,
            height,
            dim: dim as usize,
            feature_dim: features as usize,
            visual_tokens: tokens as usize,
            hidden: hidden as usize,
        })
    }

    pub(super) fn run(&self, images: &[Pixels]) -> Result<Vec<ImageEncoding>, ModelError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Vec::with_capacity(images.len() * images[0].data().len());
        for pixels in images {
            self.check(pixels)?;
            batch.extend_from_slice(pixels.data());
        }
        let n = images.len();
        let shape = [n, 3, self.height as usize, self.width as usize];
        let input = Tensor::from_array((shape, batch)).map_err(|error| self.graph.failed(&error))?;
        let (retrieval, visual_tokens, features) =
            self.graph.run(vec![("pixel_values".into(), input.into())], |out| {
                Ok((
                    out.values("retrieval_embedding", &[n, self.dim])?,
                    match self.visual_tokens {
                        0 => Vec::new(),
                        tokens => out.values("visual_tokens", &[n, tokens, self.hidden])?,
                    },
                    out.values("features", &[n, self.feature_dim])?,
                ))
            })?;
        let row = |values: &[f32], at: usize| values[at * (values.len() / n)..(at + 1) * (values.len() / n)].to_vec();
        (0..n)
            .map(|at| {
                let retrieval = unit(row(&retrieval, at), "a picture")?;
                Ok(ImageEncoding { retrieval, visual_tokens: row(&visual_tokens, at), features: row(&features, at) })
            })
            .collect()
    }

    fn check(&self, pixels: &Pixels) -> Result<(), ModelError> {
        let (found_width, found_height) = (pixels.width(), pixels.height());
        if (found_width, found_height) != (self.width, self.height) {
            return Err(ModelError::WrongPixels { width: self.width, height: self.height, found_width, found_height });
        }
        Ok(())
    }
}
