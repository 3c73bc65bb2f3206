//! Keys and values of what a decoder has read, as ONNX Runtime made them.
//!
//! Between steps nothing is copied: what a pass returns as `present` is moved here and lent to the next pass as
//! `past_key_values`. Only truncating, cloning, and entering or leaving a batch (`rows`) touch the memory.

use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor};
use parking_lot::Mutex;

use super::error::GraphError;
use super::reason;

/// The graph that keys and values belong to.
pub(super) const GRAPH: &str = "decoder_model_merged";

/// Sizes of the keys and values of one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadShape {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) width: usize,
}

impl HeadShape {
    /// Heap bytes of a position.
    pub(super) fn bytes(&self) -> usize {
        2 * self.layers * self.heads * self.width * size_of::<f32>()
    }
}

/// Keys and values of one sequence, in memory of their own.
pub(super) struct Kept {
    pub(super) len: usize,
    /// Key and value of layer 0, of layer 1, ..., `[1, heads, len, width]` each; none while nothing was read.
    pub(super) tensors: Vec<DynValue>,
}

/// Where a sequence's keys and values are: here, or, while this is empty, among the rows of the batch.
pub(super) type Slot = Mutex<Option<Kept>>;

impl Kept {
    /// Of a sequence that has not begun.
    pub(super) fn nothing() -> Self {
        Self { len: 0, tensors: Vec::new() }
    }

    /// Keys and values, lent to a pass.
    pub(super) fn lend(&self, shape: HeadShape) -> Result<Vec<SessionInputValue<'_>>, GraphError> {
        if self.len > 0 {
            return Ok(self.tensors.iter().map(SessionInputValue::from).collect());
        }
        // An array of length zero cannot be handed over; an allocator makes a tensor of it.
        let nothing = || Tensor::<f32>::new(&Allocator::default(), [1, shape.heads, 0, shape.width]);
        std::iter::repeat_with(nothing)
            .take(2 * shape.layers)
            .map(|tensor| Ok(tensor.map_err(failed)?.into()))
            .collect()
    }

    /// The first `len` positions of every key and value.
    pub(super) fn first(&self, shape: HeadShape, len: usize) -> Result<Self, GraphError> {
        let HeadShape { heads, width, .. } = shape;
        if len == 0 {
            return Ok(Self::nothing());
        }
        let cut = |tensor: &DynValue| -> Result<DynValue, GraphError> {
            let heads_kept = values(tensor)?.chunks_exact(self.len * width).map(|head| &head[..len * width]);
            let kept = heads_kept.collect::<Vec<_>>().concat();
            Ok(Tensor::from_array(([1, heads, len, width], kept)).map_err(failed)?.into_dyn())
        };
        Ok(Self { len, tensors: self.tensors.iter().map(cut).collect::<Result<_, _>>()? })
    }
}

/// Keys and values of `found` positions where there must be those of `expected`: a pass over
/// them would answer, and wrongly.
pub(super) fn lost(expected: usize, found: usize) -> GraphError {
    GraphError::LostPast { graph: GRAPH, expected, found }
}

/// The values of a tensor of floats.
pub(super) fn values(tensor: &DynValue) -> Result<&[f32], GraphError> {
    tensor.try_extract_tensor::<f32>().map(|(_, values)| values).map_err(failed)
}

pub(super) fn failed(error: ort::Error) -> GraphError {
    GraphError::Run { graph: GRAPH, why: reason(&error) }
}
