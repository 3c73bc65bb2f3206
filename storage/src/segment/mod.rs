//! Segments: rows that do not change, in memory or in a sealed file, and the view a reader gets of them.
//!
//! [`memory`] holds what is only in the journal yet, [`sealed`] maps a file, [`view`] makes both look alike and adds
//! which rows are dead ([`dead`]). [`layout`] is the file's structure, [`build`] fills it,
//! [`file`] writes it.

pub(crate) mod build;
pub(crate) mod dead;
mod file;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod sealed;
pub(crate) mod vectors;
mod view;

pub use vectors::Vectors;
pub use view::SegmentView;
