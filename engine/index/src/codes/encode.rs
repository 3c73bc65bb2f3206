//! Writing codes: the mean of all rows, then each row by itself.
//!
//! Rows are shared out over rayon's threads. The bytes do not depend on how many there are: a row's code needs the
//! mean and the row, and the mean is summed in blocks of a fixed size, one after the other.

use rayon::prelude::*;

use super::bits;
use super::layout::{CodeKind, CodesInfo, DIM_MAX, Factors};
use super::rotation::Rotation;
use super::scalar::Grid;
use crate::Rows;

/// Rows that are summed, and encoded, by one thread at a time.
const BLOCK: usize = 1024;

/// Seed of the rotation for whom any will do.
const SEED: u64 = 20_261_121;

/// Encodes all rows, as `layout.rs` draws it. Elements that are not finite count as the mean; the error of such a
/// row is infinite.
///
/// # Panics
/// When a row has no or more than 65,535 elements.
#[must_use]
pub fn encode<R: Rows + Sync + ?Sized>(kind: CodeKind, rows: &R) -> Vec<u8> {
    encode_seeded(kind, rows, SEED)
}

/// [`encode`] with another rotation; kinds that do not rotate ignore the seed.
///
/// # Panics
/// When a row has no or more than 65,535 elements.
#[must_use]
pub fn encode_seeded<R: Rows + Sync + ?Sized>(kind: CodeKind, rows: &R, seed: u64) -> Vec<u8> {
    assert!((1..=DIM_MAX).contains(&rows.dim()), "codes: rows of {} elements", rows.dim());
    let seed = if kind == CodeKind::Bits { seed } else { 0 };
    let info = CodesInfo { kind, dim: rows.dim(), rows: rows.len(), seed };
    let mean = mean(rows);
    let mut bytes = Vec::new();
    let (mut codes, mut residuals) = info.lay_out(&mean, &mut bytes);
    let (stride, residual_bytes) = (kind.stride(info.dim), kind.residual_bytes(info.dim));
    let mut blocks = Vec::with_capacity(info.rows.div_ceil(BLOCK));
    for start in (0..info.rows).step_by(BLOCK) {
        let count = BLOCK.min(info.rows - start);
        let (of_codes, of_residuals);
        (of_codes, codes) = codes.split_at_mut(count * stride);
        (of_residuals, residuals) = residuals.split_at_mut(count * residual_bytes);
        blocks.push((start, of_codes, of_residuals));
    }
    blocks.into_par_iter().for_each(|(start, codes, residuals)| {
        let mut r = vec![0.0; Rotation::width(info.dim)];
        for (at, code) in codes.chunks_exact_mut(stride).enumerate() {
            let residual = &mut residuals[at * residual_bytes..][..residual_bytes];
            encode_row(info, &mean, rows.row((start + at) as u32), &mut r, code, residual);
        }
    });
    bytes
}

/// Mean of all rows; elements that are not finite count as 0.
fn mean<R: Rows + Sync + ?Sized>(rows: &R) -> Vec<f32> {
    let sum_block = |block: usize| {
        let mut sum = vec![0.0f64; rows.dim()];
        for row in block * BLOCK..rows.len().min((block + 1) * BLOCK) {
            for (sum, x) in sum.iter_mut().zip(rows.row(row as u32)) {
                *sum += if x.is_finite() { f64::from(*x) } else { 0.0 };
            }
        }
        sum
    };
    let blocks: Vec<Vec<f64>> = (0..rows.len().div_ceil(BLOCK)).into_par_iter().map(sum_block).collect();
    let mut mean = vec![0.0f64; rows.dim()];
    for block in blocks {
        for (mean, sum) in mean.iter_mut().zip(block) {
            *mean += sum / rows.len() as f64;
        }
    }
    mean.into_iter().map(|x| x as f32).collect()
}

/// One row into `stride` bytes of `code` and its `residual`, both zeros so far. `r` is memory for the difference.
fn encode_row(info: CodesInfo, mean: &[f32], row: &[f32], r: &mut [f32], code: &mut [u8], residual: &mut [u8]) {
    for ((r, x), mean) in r.iter_mut().zip(row).zip(mean) {
        *r = x - mean;
    }
    let mean_dot = r.iter().zip(mean).map(|(r, mean)| f64::from(*r) * f64::from(*mean)).sum::<f64>() as f32;
    let Some((factors, code)) = code.split_first_chunk_mut() else { return };
    let found = match info.kind {
        CodeKind::Bits => {
            r[info.dim..].fill(0.0);
            info.rotation().turn(r);
            bits::encode(r, code)
        }
        kind => encode_scalar(kind, &r[..info.dim], code, residual),
    };
    let known = |x: f32| if x.is_finite() { x } else { 0.0 };
    let error = if found.error.is_finite() { found.error } else { f32::INFINITY };
    let (scale, offset) = (known(found.scale), known(found.offset));
    Factors { scale, offset, mean_dot: known(mean_dot), error }.write(factors);
}

/// Writes a scalar code; returns its factors, of which `mean_dot` is not known here.
fn encode_scalar(kind: CodeKind, r: &[f32], code: &mut [u8], residual: &mut [u8]) -> Factors {
    let grid = if kind == CodeKind::Int8 { Grid::symmetric(r) } else { Grid::between(r) };
    let left_out: f64 = if kind == CodeKind::Int8 {
        grid.to_bytes(r, code);
        r.iter().enumerate().map(|(at, x)| f64::from(x - grid.byte(code, at)).powi(2)).sum()
    } else {
        grid.to_halves(r, code);
        grid.to_residual(r, code, residual);
        r.iter().enumerate().map(|(at, x)| f64::from(x - grid.half(code, at)).powi(2)).sum()
    };
    Factors { scale: grid.scale, offset: grid.offset, mean_dot: 0.0, error: left_out.sqrt() as f32 }
}
