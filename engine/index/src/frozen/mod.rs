//! Frozen graphs: neighbour lists in flat arrays of bytes that somebody has mapped, read without loading.
//!
//! A graph is frozen once, by a builder (today [`crate::hnsw::build`]), and then only read, by any number of
//! threads. `format` draws the bytes and finds its way in them, `draft` writes them, `check` reads every one of
//! them, `search` walks, and `scratch` is the memory that a walk needs and the next walk uses again.
//!
//! Bytes may be damaged or foreign: [`Graph::parse`] answers with an error where it can tell, and where it cannot,
//! a search is at worst poor. It never panics, reads nothing outside, and computes every score from the rows.

mod check;
mod draft;
mod format;
mod scratch;
mod search;

pub(crate) use draft::{Draft, UpperLayer};
pub use format::{Graph, GraphError, GraphInfo, Kind};
pub use scratch::Scratch;
