//! Inner products of `i8` without VNNI: 32 elements are widened to 16 bits, and `madd` adds their products in pairs.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm256_maskz_loadu_epi8, _mm512_add_epi32, _mm512_cvtepi8_epi16, _mm512_madd_epi16, _mm512_reduce_add_epi32,
    _mm512_setzero_si512,
};

const LANES: usize = 32;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX-512F, BW and VL ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn dot(query: &[i8], row: &[i8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX-512F, BW and VL ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[i8]; N]) -> [i32; N] {
    let dim = query.len();
    assert!(rows.iter().all(|row| row.len() == dim), "int8: a row has another length than the query");
    let mut sums = [_mm512_setzero_si512(); N];
    let mut at = 0;
    while at < dim {
        let left = (dim - at).min(LANES);
        let mask = super::first(left) as u32;
        // SAFETY: the mask has one bit for each of the `left` bytes from `at` on, so lanes past dim are not read.
        let load = |from: &[i8]| unsafe { _mm256_maskz_loadu_epi8(mask, from.as_ptr().add(at)) };
        let query = _mm512_cvtepi8_epi16(load(query));
        for r in 0..N {
            let row = _mm512_cvtepi8_epi16(load(rows[r]));
            sums[r] = _mm512_add_epi32(sums[r], _mm512_madd_epi16(query, row));
        }
        at += left;
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}
