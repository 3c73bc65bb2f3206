//! The truth that every kernel is tested against: plain loops, first element to last, summed in `f64`.
//!
//! A product of two `f32` is exact in `f64` and neither overflows nor vanishes there, so what is left is the
//! rounding of the sum: `dim * 2^-53`, far below anything `f32` can show.
//!
//! **The bound.** With `eps = 2^-23`, `s = sum |a_i * b_i|`, and `tiny` the smallest subnormal `f32`, a kernel's
//! answer is within `dim * eps * s + dim * tiny` of the reference. Where `s` exceeds `f32::MAX` it may be
//! infinite or NaN instead, but it is never finite and wrong. A NaN in either input gives NaN.
//!
//! Halves are widened first, which is exact; so what is said of `f32` holds for them.
//!
//! Products of integers have no bound: kernels give the very number.

use half::f16;

use crate::{int4, signs};

/// Inner product of two vectors, in `f64`.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "dot: the vectors have different lengths");
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// Euclidean length, in `f64`.
#[must_use]
pub fn norm(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

/// How far a kernel's [`dot`] may be from the reference; see the module's head.
#[must_use]
pub fn dot_bound(a: &[f32], b: &[f32]) -> f64 {
    let magnitude: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum();
    let tiny = f64::from(f32::from_bits(1));
    a.len() as f64 * (f64::from(f32::EPSILON) * magnitude + tiny)
}

/// Inner product of two vectors of `i8`.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot_int8(query: &[i8], row: &[i8]) -> i64 {
    assert_eq!(query.len(), row.len(), "dot_int8: the vectors have different lengths");
    query.iter().zip(row).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum()
}

/// Inner product of `query`, as it is before [`int4::prepare`], with the 4-bit codes of `row`.
///
/// # Panics
/// When the row has fewer codes than the query has elements.
#[must_use]
pub fn dot_int4(query: &[i8], row: &[u8]) -> i64 {
    query.iter().enumerate().map(|(at, x)| i64::from(*x) * i64::from(int4::unpack(row, at))).sum()
}

/// The values of halves, little-endian.
#[must_use]
pub fn widen(row: &[[u8; 2]]) -> Vec<f32> {
    row.iter().map(|half| f16::from_le_bytes(*half).to_f32_const()).collect()
}

/// The agreement of `query`, as it is before [`signs::prepare`], with a row of a block.
///
/// # Panics
/// When the block has fewer elements than the query.
#[must_use]
pub fn agreement(query: &[i8], block: &[u8], row: usize) -> i64 {
    let agrees = |at: usize, x: i8| if signs::get(block, row, at) { x > 0 } else { x < 0 };
    query.iter().enumerate().filter(|(at, x)| agrees(*at, **x)).map(|(_, x)| i64::from(x.unsigned_abs())).sum()
}
