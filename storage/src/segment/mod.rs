//! Segments: rows that do not change, in memory or in a sealed file, and the view a reader gets of them.
//!
//! [`memory`] holds what is only in the journal yet, [`sealed`] maps a file, [`view`] makes both look alike ([`placed`]
//! for several rows at once) and adds which rows are dead ([`dead`]). [`layout`] is the file's structure, [`build`]
//! fills it, [`file`] writes it, with the parts that a caller's [`builder`] makes. [`in_order`] tells the system how it
//! is read.

pub(crate) mod build;
mod builder;
pub(crate) mod dead;
mod derived;
mod file;
mod in_order;
pub(crate) mod layout;
pub(crate) mod memory;
mod placed;
pub(crate) mod sealed;
pub(crate) mod vectors;
mod view;

pub(crate) use builder::Guarded;
pub use builder::{PayloadLister, SegmentBuilder, Source, Task};
pub use in_order::InOrder;
pub use vectors::Vectors;
pub use view::SegmentView;
