//! Keys and values of what a decoder has read, as ONNX Runtime made them.
//!
//! Between steps nothing is copied: what a pass returns as `present` is moved here and lent to the next pass as
//! `past_key_values`. Only truncating and cloning touch the memory.

use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor};

use super::error::GraphError;
use super::reason;
use crate::cache::CacheState;
use crate::error::ModelError;

/// Sizes of a key or value: `[1, heads, len, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadShape {
    pub(super) heads: usize,
    pub(super) width: usize,
}

/// The past of one sequence.
pub(super) struct Past {
    shape: HeadShape,
    layers: usize,
    len: usize,
    /// Key and value of layer 0, of layer 1, ...; none while nothing was read.
    tensors: Vec<DynValue>,
}

impl Past {
    /// The past of a sequence that has not begun.
    pub(super) fn empty(shape: HeadShape, layers: usize) -> Self {
        Self { shape, layers, len: 0, tensors: Vec::new() }
    }

    /// Whether it is the past of a decoder of this shape.
    pub(super) fn fits(&self, shape: HeadShape, layers: usize) -> bool {
        (self.shape, self.layers) == (shape, layers)
    }

    /// Keys and values, lent to a pass.
    pub(super) fn lend(&self) -> Result<Vec<SessionInputValue<'_>>, GraphError> {
        if self.len > 0 {
            return Ok(self.tensors.iter().map(SessionInputValue::from).collect());
        }
        // An array of length zero cannot be handed over; an allocator makes a tensor of it.
        let nothing = || Tensor::<f32>::new(&Allocator::default(), [1, self.shape.heads, 0, self.shape.width]);
        std::iter::repeat_with(nothing).take(2 * self.layers).map(|tensor| Ok(tensor.map_err(failed)?.into())).collect()
    }

    /// Puts the present in the past's place.
    pub(super) fn replace(&mut self, len: usize, tensors: Vec<DynValue>) {
        (self.len, self.tensors) = (len, tensors);
    }

    /// The first `len` positions of every key and value.
    fn first(&self, len: usize) -> Result<Self, GraphError> {
        let HeadShape { heads, width } = self.shape;
        let mut first = Self::empty(self.shape, self.layers);
        if len == 0 {
            return Ok(first);
        }
        let cut = |tensor: &DynValue| -> ort::Result<DynValue> {
            let (_, values) = tensor.try_extract_tensor::<f32>()?;
            let heads_kept = values.chunks_exact(self.len * width).map(|head| &head[..len * width]);
            let kept = heads_kept.collect::<Vec<_>>().concat();
            Ok(Tensor::from_array(([1, heads, len, width], kept))?.into_dyn())
        };
        first.replace(len, self.tensors.iter().map(cut).collect::<ort::Result<_>>().map_err(failed)?);
        Ok(first)
    }
}

impl CacheState for Past {
    fn len(&self) -> usize {
        self.len
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        *self = self.first(len)?;
        Ok(())
    }

    fn try_clone(&self) -> Result<Box<dyn CacheState>, ModelError> {
        Ok(Box::new(self.first(self.len)?))
    }

    fn bytes(&self) -> usize {
        self.tensors.len() * self.shape.heads * self.len * self.shape.width * size_of::<f32>()
    }
}

fn failed(error: ort::Error) -> GraphError {
    GraphError::Run { graph: "decoder_model_merged", why: reason(&error) }
}
