//! Inner products of four planes of bits with 1-bit codes: bits are counted by looking up half bytes, as in
//! `avx2/bits.rs`, where the sums are argued about.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm_setr_epi8, _mm512_add_epi8, _mm512_add_epi64, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi64, _mm512_sad_epu8, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_srli_epi16,
};

use crate::bits::{PLANES, planes};

const LANES: usize = 64;

/// Inner product of a prepared query with a row of a quarter of its length.
///
/// # Safety
/// The processor must have AVX-512F, BW and VL ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn dot(query: &[u8], row: &[u8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of a prepared query with four rows of a quarter of its length.
///
/// # Safety
/// The processor must have AVX-512F, BW and VL ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) unsafe fn dot4(query: &[u8], rows: [&[u8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn dot_many<const N: usize>(query: &[u8], rows: [&[u8]; N]) -> [i32; N] {
    let planes = planes(query);
    let bytes = planes[0].len();
    assert!(rows.iter().all(|row| row.len() == bytes), "bits: a row is not a quarter as long as the query");
    let mut sums = [_mm512_setzero_si512(); N];
    let mut at = 0;
    while at < bytes {
        let left = (bytes - at).min(LANES);
        let mask = super::first(left);
        // SAFETY: the mask has one bit for each of the `left` bytes from `at` on, so nothing past the end is read.
        let load = |from: &[u8]| unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().add(at).cast()) };
        let query = planes.map(load);
        for r in 0..N {
            sums[r] = _mm512_add_epi64(sums[r], common(query, load(rows[r])));
        }
        at += left;
    }
    sums.map(|sum| _mm512_reduce_add_epi64(sum) as i32)
}

/// Weighed number of bits in common, added over eight bytes each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn common(query: [__m512i; PLANES], row: __m512i) -> __m512i {
    let [one, two, four, eight] = query.map(|plane| count(_mm512_and_si512(plane, row)));
    let twice = |sum: __m512i| _mm512_add_epi8(sum, sum);
    let weighed = _mm512_add_epi8(four, twice(eight));
    let weighed = _mm512_add_epi8(two, twice(weighed));
    let weighed = _mm512_add_epi8(one, twice(weighed));
    _mm512_sad_epu8(weighed, _mm512_setzero_si512())
}

/// Bits of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn count(v: __m512i) -> __m512i {
    let half = _mm512_set1_epi8(0x0f);
    let bits = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let low = _mm512_shuffle_epi8(bits, _mm512_and_si512(v, half));
    let high = _mm512_shuffle_epi8(bits, _mm512_and_si512(_mm512_srli_epi16::<4>(v), half));
    _mm512_add_epi8(low, high)
}
