//! Inner products of `f32` with `f16`: sixteen halves are widened as they are loaded, the tail under a mask.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __mmask16, _mm256_maskz_loadu_epi16, _mm512_add_ps, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_maskz_loadu_ps,
    _mm512_reduce_add_ps, _mm512_setzero_ps,
};

const LANES: usize = 16;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX-512F, BW and VL ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn dot(query: &[f32], row: &[[u8; 2]]) -> f32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX-512F, BW and VL ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn dot4(query: &[f32], rows: [&[[u8; 2]]; 4]) -> [f32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn dot_many<const N: usize>(query: &[f32], rows: [&[[u8; 2]]; N]) -> [f32; N] {
    let dim = query.len();
    assert!(rows.iter().all(|row| row.len() == dim), "f16: a row has another length than the query");
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    let mut at = 0;
    while at < dim {
        let left = (dim - at).min(LANES);
        let mask: __mmask16 = u16::MAX >> (LANES - left);
        // SAFETY: the mask has one bit for each of the `left` elements from `at` on, so lanes past dim are not read.
        let query = unsafe { _mm512_maskz_loadu_ps(mask, query.as_ptr().add(at)) };
        for r in 0..N {
            // SAFETY: as above; a row's elements are two bytes each, and the load asks for no alignment.
            let row = unsafe { _mm256_maskz_loadu_epi16(mask, rows[r].as_ptr().add(at).cast()) };
            let sum = &mut sums[r][at / LANES % 2];
            *sum = _mm512_fmadd_ps(query, _mm512_cvtph_ps(row), *sum);
        }
        at += left;
    }
    sums.map(|[even, odd]| _mm512_reduce_add_ps(_mm512_add_ps(even, odd)))
}
