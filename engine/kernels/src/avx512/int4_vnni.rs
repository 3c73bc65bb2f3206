//! Inner products of `i8` with 4-bit codes with VNNI: each half of a byte is the unsigned side that `dpbusd` wants.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_and_si512, _mm512_dpbusd_epi32, _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_srli_epi16,
};

const LANES: usize = 64;

/// Inner product of a prepared query with a row of half its length.
///
/// # Safety
/// The processor must have AVX-512F, BW, VL and VNNI ([`has_vnni`](super::has_vnni)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dot(query: &[i8], row: &[u8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of a prepared query with four rows of half its length.
///
/// # Safety
/// The processor must have AVX-512F, BW, VL and VNNI ([`has_vnni`](super::has_vnni)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[u8]; N]) -> [i32; N] {
    let (even, odd) = query.split_at(query.len() / 2);
    let bytes = even.len();
    let fits = odd.len() == bytes && rows.iter().all(|row| row.len() == bytes);
    assert!(fits, "int4: a row is not half as long as the query");
    let half = _mm512_set1_epi8(0x0f);
    let mut sums = [_mm512_setzero_si512(); N];
    let mut at = 0;
    while at < bytes {
        let left = (bytes - at).min(LANES);
        let mask = super::first(left);
        // SAFETY: the mask has one bit for each of the `left` bytes from `at` on, so nothing past the end is read.
        let load = |from: *const i8| unsafe { _mm512_maskz_loadu_epi8(mask, from.add(at)) };
        let (even, odd) = (load(even.as_ptr()), load(odd.as_ptr()));
        for r in 0..N {
            let row = load(rows[r].as_ptr().cast());
            let low = _mm512_and_si512(row, half);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(row), half);
            sums[r] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums[r], low, even), high, odd);
        }
        at += left;
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}
