//! Inner products of four planes of bits with 1-bit codes: bits are counted by looking up half bytes (Muła, Kurz and
//! Lemire 2018, arXiv:1611.07612).
//!
//! A byte has at most 8 bits in common with each plane, 120 when the planes are weighed, so that a byte can hold the
//! sum of all four until `sad` adds eight bytes.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_add_epi64, _mm256_and_si256, _mm256_sad_epu8, _mm256_set1_epi8, _mm256_setr_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::int8::{LANES, horizontal_sum, load, padded};
use crate::bits::{PLANES, planes};

/// Inner product of a prepared query with a row of a quarter of its length.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot(query: &[u8], row: &[u8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of a prepared query with four rows of a quarter of its length.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot4(query: &[u8], rows: [&[u8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_many<const N: usize>(query: &[u8], rows: [&[u8]; N]) -> [i32; N] {
    let planes = planes(query).map(|plane| plane.as_chunks::<LANES>());
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let mut sums = [_mm256_setzero_si256(); N];
    for at in 0..planes[0].0.len() {
        let query = planes.map(|plane| load(&plane.0[at]));
        for r in 0..N {
            sums[r] = _mm256_add_epi64(sums[r], common(query, load(&parts[r].0[at])));
        }
    }
    if !planes[0].1.is_empty() {
        let query = planes.map(|plane| load(&padded(plane.1)));
        for r in 0..N {
            sums[r] = _mm256_add_epi64(sums[r], common(query, load(&padded(parts[r].1))));
        }
    }
    // Sums are far below 2^32, so the upper halves of the 64-bit words are 0 and may be added too.
    sums.map(|sum| horizontal_sum(sum))
}

/// Weighed number of bits in common, added over eight bytes each.
#[inline]
#[target_feature(enable = "avx2")]
fn common(query: [__m256i; PLANES], row: __m256i) -> __m256i {
    let [one, two, four, eight] = query.map(|plane| count(_mm256_and_si256(plane, row)));
    let twice = |sum: __m256i| _mm256_add_epi8(sum, sum);
    let weighed = _mm256_add_epi8(four, twice(eight));
    let weighed = _mm256_add_epi8(two, twice(weighed));
    let weighed = _mm256_add_epi8(one, twice(weighed));
    _mm256_sad_epu8(weighed, _mm256_setzero_si256())
}

/// Bits of each byte.
#[inline]
#[target_feature(enable = "avx2")]
fn count(v: __m256i) -> __m256i {
    let half = _mm256_set1_epi8(0x0f);
    #[rustfmt::skip]
    let bits = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    let low = _mm256_shuffle_epi8(bits, _mm256_and_si256(v, half));
    let high = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16::<4>(v), half));
    _mm256_add_epi8(low, high)
}
