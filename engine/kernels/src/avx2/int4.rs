//! Inner products of `i8` with 4-bit codes: a byte is split in two, each half a small unsigned number for `maddubs`.
//!
//! A pair of products is at most 2 × 15 × 128 = 3,840, so that eight pairs fit the 16 bits of a sum: four blocks of
//! 32 bytes are added before the sums are widened.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si64, _mm_extract_epi64, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_srli_epi16,
};

use super::int8::{LANES, horizontal_sum, load, padded};

/// Blocks that a 16-bit sum can hold.
const BLOCKS: usize = 4;

/// Inner product of a prepared query with a row of half its length.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](crate::avx2::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot(query: &[i8], row: &[u8]) -> i32 {
    horizontal_sum(dot_many(query, [row])[0])
}

/// Inner products of a prepared query with four rows of half its length.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](crate::avx2::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    horizontal_sums(dot_many(query, rows))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[u8]; N]) -> [__m256i; N] {
    let (even, odd) = query.split_at(query.len() / 2);
    let ((even, even_tail), (odd, odd_tail)) = (even.as_chunks::<LANES>(), odd.as_chunks::<LANES>());
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    let fits = |blocks: usize, tail: usize| blocks == even.len() && tail == even_tail.len();
    assert!(
        fits(odd.len(), odd_tail.len()) && parts.iter().all(|(of_row, rest)| fits(of_row.len(), rest.len())),
        "int4: a row is not half as long as the query"
    );
    let mut sums = [_mm256_setzero_si256(); N];
    let mut at = 0;
    while at < even.len() {
        let stop = even.len().min(at + BLOCKS);
        let mut short = [_mm256_setzero_si256(); N];
        for block in at..stop {
            let (even, odd) = (load(&even[block]), load(&odd[block]));
            for r in 0..N {
                short[r] = _mm256_add_epi16(short[r], pairs(even, odd, load(&parts[r].0[block])));
            }
        }
        for r in 0..N {
            sums[r] = _mm256_add_epi32(sums[r], widen(short[r]));
        }
        at = stop;
    }
    if !even_tail.is_empty() {
        let (even, odd) = (load(&padded(even_tail)), load(&padded(odd_tail)));
        for r in 0..N {
            sums[r] = _mm256_add_epi32(sums[r], widen(pairs(even, odd, load(&padded(parts[r].1)))));
        }
    }
    sums
}

/// The sums of four registers, together: what one costs is little less than what four do.
#[inline]
#[target_feature(enable = "avx2")]
fn horizontal_sums([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
    let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
    let (low, high) = (_mm_cvtsi128_si64(sums), _mm_extract_epi64::<1>(sums));
    [low as i32, (low >> 32) as i32, high as i32, (high >> 32) as i32]
}

/// Products of 64 codes in 32 bytes, four to a sum of 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(even: __m256i, odd: __m256i, row: __m256i) -> __m256i {
    let half = _mm256_set1_epi8(0x0f);
    let low = _mm256_and_si256(row, half);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(row), half);
    _mm256_add_epi16(_mm256_maddubs_epi16(low, even), _mm256_maddubs_epi16(high, odd))
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen(short: __m256i) -> __m256i {
    _mm256_madd_epi16(short, _mm256_set1_epi16(1))
}
