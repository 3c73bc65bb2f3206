//! Why a graph was not built, or a row not taken.

/// What a builder refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The number of neighbours is out of range.
    #[error("a node was to have {received} neighbours; it must be between 2 and 128")]
    WrongM {
        /// What was asked for.
        received: usize,
    },
    /// The row has another dimension than the graph (a graph's is never 0).
    #[error("the row has {received} dimensions, the graph has {expected}")]
    WrongDim {
        /// Dimension of the graph.
        expected: usize,
        /// Dimension of the row.
        received: usize,
    },
    /// The row is not of unit length: zero, not finite, or never normalised.
    #[error("row {row} is not of unit length")]
    NotUnit {
        /// Which row.
        row: u32,
    },
    /// The row is in the graph already.
    #[error("row {row} is in the graph already")]
    Repeated {
        /// Which row.
        row: u32,
    },
    /// Frozen graphs are over rows 0..n, and this one is missing.
    #[error("row {row} is missing from the graph")]
    Missing {
        /// The first row missing.
        row: u32,
    },
    /// Who watches the build has no use for it any more.
    #[error("the build was given up")]
    Stopped,
    /// Rows are more than a graph counts.
    #[error("the graph is too large for one segment: {rows} rows")]
    TooLarge {
        /// Rows given.
        rows: usize,
    },
}

/// How far a row's length may be from 1.
const UNIT_TOLERANCE: f64 = 1e-3;

/// Refuses a row that is not of unit length.
pub(crate) fn check_unit(row: u32, vector: &[f32]) -> Result<(), BuildError> {
    // Written so that NaN is refused too.
    let is_unit = (fromagerie_kernels::norm(vector) - 1.0).abs() <= UNIT_TOLERANCE;
    if is_unit { Ok(()) } else { Err(BuildError::NotUnit { row }) }
}
