//! 1-bit codes and their estimator (RaBitQ, Gao and Long 2024, arXiv:2405.12497).
//!
//! With `o` the rotated row, the code is the sign of each element, and `scale = |o|^2 / (sum of |o_i|)` makes
//! `scale * signs` the vector along the signs from which `o` differs at a right angle to itself. The inner product
//! with it estimates that with `o`, unbiased over rotations; what is left, `error` long, points anywhere, so the
//! estimate is off by about `error * |p| / sqrt(width)` (the paper's theorem 3.2 bounds the tail).
//!
//! A query is rotated the same way and rounded to 16 steps, up or down by chance in proportion, so that rounding
//! does not bias it either; the chance is a function of the element's number, so that a score is always the same.

use fromagerie_kernels::bits;

use super::layout::Factors;
use super::rotation::scramble;

/// Middle of the steps 0..=15.
const MIDDLE: f32 = 7.5;

/// Writes the code of `o`, a rotated row; returns its factors, of which `mean_dot` is not known here.
pub(super) fn encode(o: &[f32], code: &mut [u8]) -> Factors {
    bits::pack(o.iter().map(|x| *x > 0.0), code);
    let squares: f64 = o.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let magnitudes: f64 = o.iter().map(|x| f64::from(x.abs())).sum();
    if squares == 0.0 {
        return Factors::default();
    }
    let scale = (squares / magnitudes) as f32;
    let positive: u32 = code.iter().map(|byte| byte.count_ones()).sum();
    let balance = 2.0 * f64::from(positive) - o.len() as f64;
    let left_out = |x: &f32| f64::from(x - if *x > 0.0 { scale } else { -scale });
    let error = o.iter().map(|x| left_out(x) * left_out(x)).sum::<f64>().sqrt() as f32;
    Factors { scale, offset: (f64::from(scale) * balance) as f32, mean_dot: 0.0, error }
}

/// The rotated row as its code has it.
pub(super) fn decode(factors: Factors, code: &[u8], o: &mut [f32]) {
    for (at, x) in o.iter_mut().enumerate() {
        *x = if bits::unpack(code, at) { factors.scale } else { -factors.scale };
    }
}

/// What rounding a query to 16 steps gave.
pub(super) struct Rounded {
    /// A step.
    pub(super) step: f32,
    /// Sum of all elements in steps.
    pub(super) sum: u32,
    /// Length of what is left out.
    pub(super) left_out: f32,
}

/// Rounds `p`, a rotated query, to steps 0..=15 that stand for `step * (n - 7.5)`.
pub(super) fn round(p: &[f32], steps: &mut Vec<u8>) -> Rounded {
    let largest = p.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let step = largest / MIDDLE;
    let in_one = if step > 1e-30 { 1.0 / step } else { 0.0 };
    steps.clear();
    steps.extend(p.iter().zip(0u64..).map(|(x, at)| {
        let chance = (scramble(at) >> 40) as f32 / (1u32 << 24) as f32;
        (x * in_one + MIDDLE + chance).floor().clamp(0.0, 15.0) as u8
    }));
    let rest = |(x, n): (&f32, &u8)| f64::from(x - step * (f32::from(*n) - MIDDLE));
    let squares: f64 = p.iter().zip(&*steps).map(|pair| rest(pair) * rest(pair)).sum();
    let sum = steps.iter().map(|n| u32::from(*n)).sum();
    Rounded { step, sum, left_out: squares.sqrt() as f32 }
}

/// What an offset counts for: it stands for all elements being half a step from the middle.
pub(super) fn tilt(step: f32) -> f32 {
    -MIDDLE * step
}
