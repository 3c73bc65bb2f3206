//! Distances and scans of vectors, and weighted sums of pixels: one folder per instruction set, in it one file per kind
//! of row.
//!
//! The room knows arithmetic and nothing else: slices of numbers go in, numbers come out. `reference` says what is
//! true, `portable`, `avx2`, `avx512` and `neon` say it faster, `dispatch` lists those that this machine has,
//! `choice` picks one of them once a process, and the property tests in `tests` hold every one to the reference.
//!
//! Within one instruction set [`dot`], [`dot4`] and [`dot_rows`] add in the same order, so that a row has the same
//! score, bit for bit, whether a scan or a graph came upon it. Between instruction sets the last bits of sums of
//! floats may differ; sums of integers never do.
//!
//! This room is one of the two where `unsafe` is allowed, by module. Read next: `dispatch.rs`.

mod choice;
mod dispatch;
mod floats;
mod instruction_set;
pub mod int4;
mod norm;
mod portable;
mod prefetch;
mod product;
pub mod reference;
pub mod resample;
mod signed;
pub mod signs;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub use choice::{KernelChoice, VARIABLE, kernel_choice};
pub use dispatch::Kernel;
pub use floats::floats;
pub use instruction_set::InstructionSet;
pub use norm::{norm, normalize};
pub use prefetch::prefetch;
pub use product::Product;
pub use signed::signed;

/// Inner product of two vectors of one length.
///
/// # Panics
/// When the lengths differ: callers check dimensions, so this is a broken invariant of ours.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    Kernel::best().dot(a, b)
}

/// Inner products of `query` with four rows that may lie anywhere.
///
/// # Panics
/// When a row's length is not `query.len()`.
#[must_use]
pub fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    Kernel::best().dot4(query, rows)
}

/// Inner products of `query` (`[dim]`) with every row of `rows` (`[n, dim]`, row-major) into `out` (`[n]`).
///
/// # Panics
/// When `rows.len() != out.len() * query.len()`.
pub fn dot_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
    Kernel::best().dot_rows(query, rows, out);
}
