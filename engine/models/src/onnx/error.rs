//! What can be wrong with a graph.

use std::path::PathBuf;

/// Why a graph cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// ONNX Runtime refuses the file.
    #[error("{graph}: {} cannot be loaded: {why}", path.display())]
    Load {
        /// The graph's name.
        graph: &'static str,
        /// The file.
        path: PathBuf,
        /// ONNX Runtime's words.
        why: String,
    },
    /// An input or output that must be there is not.
    #[error("{graph}: no {side} is named `{name}`; found: {}", found.join(", "))]
    NoPort {
        /// The graph's name.
        graph: &'static str,
        /// `input` or `output`.
        side: &'static str,
        /// The name expected.
        name: String,
        /// The names found.
        found: Vec<String>,
    },
    /// An input or output of another type or shape.
    #[error("{graph}: {side} `{name}` is {found}; by the manifest it must be {expected}")]
    Port {
        /// The graph's name.
        graph: &'static str,
        /// `input` or `output`.
        side: &'static str,
        /// Its name.
        name: String,
        /// Type and shape expected.
        expected: String,
        /// Type and shape found.
        found: String,
    },
    /// An input which nobody here would feed.
    #[error("{graph}: input `{name}` is not one that this architecture feeds; it feeds: {}", known.join(", "))]
    UnknownInput {
        /// The graph's name.
        graph: &'static str,
        /// Its name.
        name: String,
        /// The names expected.
        known: Vec<String>,
    },
    /// ONNX Runtime failed while running the graph.
    #[error("{graph} failed: {why}")]
    Run {
        /// The graph's name.
        graph: &'static str,
        /// ONNX Runtime's words.
        why: String,
    },
    /// An answer of another shape than promised.
    #[error("{graph}: output `{output}` came out as {found:?}; expected {expected:?}")]
    Shape {
        /// The graph's name.
        graph: &'static str,
        /// The output's name.
        output: String,
        /// Shape expected.
        expected: Vec<usize>,
        /// Shape found.
        found: Vec<i64>,
    },
    /// An answer with a NaN in it.
    #[error("{graph}: output `{output}` contains values that are not numbers")]
    NotANumber {
        /// The graph's name.
        graph: &'static str,
        /// The output's name.
        output: String,
    },
    /// Keys and values of another number of positions than the sequence has read.
    #[error(
        "{graph}: {expected} positions were read, but the keys and values of {found} are kept; read the sequence anew"
    )]
    LostPast {
        /// The graph's name.
        graph: &'static str,
        /// Positions read.
        expected: usize,
        /// Positions kept.
        found: usize,
    },
    /// The pass that was to answer ended early.
    #[error("{graph}: the pass that this step was part of ended unexpectedly; the step can be tried again")]
    Abandoned {
        /// The graph's name.
        graph: &'static str,
    },
}
