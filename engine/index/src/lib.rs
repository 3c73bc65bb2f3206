//! Geometry: exact search and graphs over rows that somebody else owns.
//!
//! The index sees vectors through [`Rows`] and graphs as bytes; files, keys and models are other rooms' matters.
//! All vectors are unit length, a score is their inner product (the cosine), and higher is nearer.
//!
//! | room | its question |
//! |---|---|
//! | [`flat`] | which rows are nearest, exactly? (the oracle of every test here) |
//! | [`vamana`] | how is a graph built over rows that are all there? |
//! | [`hnsw`] | how does a graph grow? (`hnsw_rs`, which no other room names) |
//! | [`frozen`] | how is a graph that no longer grows laid out in bytes, rows as codes among them, and searched? |
//! | [`plan`] | scan or graph, for this filter and this `k`? |
//!
//! Read next: `query.rs`, then `frozen/format.rs`, `frozen/search.rs` and `vamana/mod.rs`.

mod build_error;
pub mod flat;
pub mod frozen;
pub mod hnsw;
mod plan;
mod query;
mod rows;
mod top;
pub mod vamana;

pub use build_error::BuildError;
pub use fromagerie_kernels::{InstructionSet, KernelChoice, kernel_choice, normalize};
pub use plan::{Plan, plan};
pub use query::{Neighbor, Query, SearchError};
pub use rows::{DenseRows, HalfRows, Rows, Scored};
