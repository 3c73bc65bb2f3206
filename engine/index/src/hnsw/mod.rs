//! Growing graphs: `hnsw_rs`, which this room alone names.
//!
//! [`Growing`] takes rows while it is searched, in memory, for a collection with many small writes. [`build`] grows
//! one over all rows and freezes it. `twins` keeps equal vectors out of the graph, `extract` reads it out point by
//! point, and `connect` sees to it that every row can be reached, before the bytes are written. A frozen graph has one
//! layer: the lowest, with the entry of the highest.
//!
//! Why it is done this way: `docs/adr/0001-frozen-graphs.md`.

mod build;
mod connect;
mod extract;
mod gap;
mod growing;
mod twins;

use crate::BuildError;

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
