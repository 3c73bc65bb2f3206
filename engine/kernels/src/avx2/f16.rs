//! Inner products of `f32` with `f16`: eight halves are widened by F16C as they are loaded.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, _mm_loadu_si128, _mm256_add_ps, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
};

use super::f32::horizontal_sum;

const LANES: usize = 8;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn dot(query: &[f32], row: &[[u8; 2]]) -> f32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn dot4(query: &[f32], rows: [&[[u8; 2]]; 4]) -> [f32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_many<const N: usize>(query: &[f32], rows: [&[[u8; 2]]; N]) -> [f32; N] {
    let (blocks, tail) = query.as_chunks::<LANES>();
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (at, block) in blocks.iter().enumerate() {
        let query = load(block);
        for r in 0..N {
            let sum = &mut sums[r][at % 2];
            *sum = _mm256_fmadd_ps(query, widen(&parts[r].0[at]), *sum);
        }
    }
    if !tail.is_empty() {
        let mut block = [0.0; LANES];
        block[..tail.len()].copy_from_slice(tail);
        for r in 0..N {
            let mut of_row = [[0; 2]; LANES];
            of_row[..tail.len()].copy_from_slice(parts[r].1);
            sums[r][0] = _mm256_fmadd_ps(load(&block), widen(&of_row), sums[r][0]);
        }
    }
    sums.map(|[even, odd]| horizontal_sum(_mm256_add_ps(even, odd)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load(block: &[f32; LANES]) -> __m256 {
    // SAFETY: the block has 8 floats, and the load asks for no alignment.
    unsafe { _mm256_loadu_ps(block.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(block: &[[u8; 2]; LANES]) -> __m256 {
    // SAFETY: the block has 16 bytes, and the load asks for no alignment.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(block.as_ptr().cast()) })
}
