//! Writing codes: the mean of all rows, then each row by itself.
//!
//! Rows are shared out over rayon's threads. The bytes do not depend on how many there are: a row's code needs the
//! mean and the row, and the mean is summed in blocks of a fixed size, one after the other.

use rayon::prelude::*;

use super::layout::{CodeKind, CodesInfo, DIM_MAX, Factors};
use super::scalar::Grid;
use crate::Rows;

/// Rows that are summed, and encoded, by one thread at a time.
const BLOCK: usize = 1024;

/// Encodes all rows, as `layout.rs` draws it. Elements that are not finite count as the mean; the error of such a
/// row is infinite.
///
/// # Panics
/// When a row has no or more than 65,535 elements.
#[must_use]
pub fn encode<R: Rows + Sync + ?Sized>(kind: CodeKind, rows: &R) -> Vec<u8> {
    assert!((1..=DIM_MAX).contains(&rows.dim()), "codes: rows of {} elements", rows.dim());
    let info = CodesInfo { kind, dim: rows.dim(), rows: rows.len() };
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
        let mut r = vec![0.0; info.dim];
        for (at, code) in codes.chunks_exact_mut(stride).enumerate() {
            let residual = &mut residuals[at * residual_bytes..][..residual_bytes];
            encode_row(kind, &mean, rows.row((start + at) as u32), &mut r, code, residual);
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
fn encode_row(kind: CodeKind, mean: &[f32], row: &[f32], r: &mut [f32], code: &mut [u8], residual: &mut [u8]) {
    for ((r, x), mean) in r.iter_mut().zip(row).zip(mean) {
        *r = x - mean;
    }
    let Some((factors, code)) = code.split_first_chunk_mut() else { return };
    let grid = if kind == CodeKind::Int8 { Grid::symmetric(r) } else { Grid::between(r) };
    match kind {
        CodeKind::Int8 => grid.to_bytes(r, code),
        CodeKind::Int4 => grid.to_halves(r, code),
        CodeKind::Int4x8 => {
            grid.to_halves(r, code);
            grid.to_residual(r, code, residual);
        }
    }
    let left_out = |at: usize| match kind {
        CodeKind::Int8 => f64::from(r[at] - grid.byte(code, at)),
        CodeKind::Int4 | CodeKind::Int4x8 => f64::from(r[at] - grid.half(code, at)),
    };
    let error = (0..r.len()).map(|at| left_out(at) * left_out(at)).sum::<f64>().sqrt() as f32;
    let mean_dot = r.iter().zip(mean).map(|(r, mean)| f64::from(*r) * f64::from(*mean)).sum::<f64>() as f32;
    let known = |x: f32| if x.is_finite() { x } else { 0.0 };
    let error = if error.is_finite() { error } else { f32::INFINITY };
    let Grid { scale, offset } = grid;
    Factors { scale: known(scale), offset: known(offset), mean_dot: known(mean_dot), error }.write(factors);
}
