//! Frozen graphs: codes and neighbour lists in flat arrays of bytes that somebody has mapped, read without loading.
//!
//! A graph is frozen once, by a builder ([`crate::vamana::build`], [`crate::hnsw::build`]), and then only read, by any
//! number of threads. `format` draws the bytes and finds its way in them, `info` is what they say of themselves,
//! `header` reads their first 256, `grid` is the codes, `signs` the first bit of each, `calibration` what the builder measured, `draft` writes all
//! that, `check` reads every word of it. `walk` goes over a graph with a `beam`, `search` makes an answer of it, or of
//! a `sweep` over all nodes; `node_set` is a filter in the order of nodes, and `scratch` is the memory that a search
//! needs and the next one uses again.
//!
//! Bytes may be damaged or foreign: [`Graph::parse`] answers with an error where it can tell, and where it cannot,
//! a search is at worst poor. It never panics, reads nothing outside, and [`Graph::search`] computes every score from
//! the rows.

mod beam;
mod calibration;
mod check;
mod draft;
mod format;
mod grid;
mod header;
mod info;
mod node_set;
mod posts;
mod scratch;
mod search;
mod signs;
mod sweep;
mod walk;
mod words;

pub(crate) use beam::Rule;
pub(crate) use calibration::{ANY, Calibration, DEGREES, LOOK_AFTER, RANKS, TARGETS};
pub(crate) use draft::{Draft, order};
pub use format::Graph;
pub(crate) use format::Links;
pub(crate) use grid::{Grid, Prepared, code_bytes, rest_bytes};
pub(crate) use info::{END, NODES_MAX};
pub use info::{GraphError, GraphInfo, Kind};
pub use node_set::NodeSet;
pub(crate) use posts::{ChosenPosts, NODES_PER_POST, POSTS_MIN};
pub use scratch::Scratch;
pub(crate) use signs::spread;
pub(crate) use walk::Walk;
