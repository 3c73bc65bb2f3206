//! Kernels in plain Rust, for machines without one of the instruction sets that have a folder here.

pub(super) mod f16;
pub(super) mod f32;
pub(super) mod int4;
pub(super) mod int8;
pub(super) mod resample;
pub(super) mod signs;
