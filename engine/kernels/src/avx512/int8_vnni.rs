//! Inner products of `i8` with VNNI: `dpbusd` adds four products of an unsigned and a signed byte to each sum.
//!
//! It wants one side unsigned, so 128 is added to each element of a row, and 128 times the sum of the query, which
//! all rows share, is taken off at the end.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_dpbusd_epi32, _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_xor_si512,
};

const LANES: usize = 64;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX-512F, BW, VL and VNNI ([`has_vnni`](super::has_vnni)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dot(query: &[i8], row: &[i8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX-512F, BW, VL and VNNI ([`has_vnni`](super::has_vnni)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[i8]; N]) -> [i32; N] {
    let dim = query.len();
    assert!(rows.iter().all(|row| row.len() == dim), "int8: a row has another length than the query");
    let half = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_si512(); N];
    let mut shift = _mm512_setzero_si512();
    let mut at = 0;
    while at < dim {
        let left = (dim - at).min(LANES);
        let mask = super::first(left);
        // SAFETY: the mask has one bit for each of the `left` bytes from `at` on, so lanes past dim are not read.
        let load = |from: &[i8]| unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().add(at)) };
        let query = load(query);
        shift = _mm512_dpbusd_epi32(shift, half, query);
        for r in 0..N {
            sums[r] = _mm512_dpbusd_epi32(sums[r], _mm512_xor_si512(load(rows[r]), half), query);
        }
        at += left;
    }
    let shift = _mm512_reduce_add_epi32(shift);
    sums.map(|sum| _mm512_reduce_add_epi32(sum) - shift)
}
