//! Growing graphs: `hnsw_rs`, which this room alone names.
//!
//! [`Growing`] takes rows while it is searched, in memory, for a collection with many small writes. [`build`] grows
//! one over all rows and freezes it. `twins` keeps equal vectors out of the graph, `extract` reads it out point by
//! point, and `connect` sees to it that every row can be reached, before the bytes are written.
//!
//! Why it is done this way: `docs/adr/0001-frozen-graphs.md`.

mod build;
mod connect;
mod extract;
mod gap;
mod growing;
mod twins;

pub use build::build;
pub use growing::Growing;

/// How a graph is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HnswParams {
    /// Neighbours of a row in an upper layer; twice that in layer 0. In 2..=128.
    pub m: usize,
    /// Width of the beam that looks for them; below `m` it counts as `m`.
    pub ef_construction: usize,
    /// Whether all of rayon's threads insert. If not, the same rows in the same order give the same bytes.
    pub parallel: bool,
}

impl Default for HnswParams {
    fn default() -> Self {
        Self { m: 16, ef_construction: 200, parallel: true }
    }
}

impl HnswParams {
    /// `hnsw_rs` ends the process above 256 neighbours, counts them in a `u8`, and divides by `ln(m)`.
    fn check(self) -> Result<Self, BuildError> {
        if !(2..=128).contains(&self.m) {
            return Err(BuildError::WrongM { received: self.m });
        }
        let ef_construction = self.ef_construction.clamp(self.m, 65_536);
        Ok(Self { ef_construction, ..self })
    }
}

/// Why a graph was not built, or a row not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `m` is outside 2..=128.
    #[error("m is {received}; it must be between 2 and 128")]
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
    /// Rows or edges are more than `u32` counts.
    #[error("the graph is too large for one segment: {rows} rows")]
    TooLarge {
        /// Rows given.
        rows: usize,
    },
}
