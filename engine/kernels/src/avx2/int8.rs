//! Inner products of `i8`: `maddubs` takes one side unsigned, so the row's signs are moved to the query.
//!
//! Two products of a row's magnitude (at most 128) and a query's element (at most 127) add up to 32,512: the 16-bit
//! sums of `maddubs` cannot saturate.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_abs_epi8, _mm256_add_epi32,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi16, _mm256_setzero_si256, _mm256_sign_epi8,
};

pub(super) const LANES: usize = 32;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](crate::avx2::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot(query: &[i8], row: &[i8]) -> i32 {
    dot_many(query, [row])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](crate::avx2::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot4(query: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_many<const N: usize>(query: &[i8], rows: [&[i8]; N]) -> [i32; N] {
    let (blocks, tail) = query.as_chunks::<LANES>();
    let parts = rows.map(|row| row.as_chunks::<LANES>());
    assert!(
        parts.iter().all(|(of_row, rest)| of_row.len() == blocks.len() && rest.len() == tail.len()),
        "int8: a row has another length than the query"
    );
    let mut sums = [_mm256_setzero_si256(); N];
    for (at, block) in blocks.iter().enumerate() {
        let query = load(block);
        for r in 0..N {
            sums[r] = _mm256_add_epi32(sums[r], products(query, load(&parts[r].0[at])));
        }
    }
    if !tail.is_empty() {
        let query = load(&padded(tail));
        for r in 0..N {
            sums[r] = _mm256_add_epi32(sums[r], products(query, load(&padded(parts[r].1))));
        }
    }
    sums.map(|sum| horizontal_sum(sum))
}

/// Products of 32 pairs, four to a sum.
#[inline]
#[target_feature(enable = "avx2")]
fn products(query: __m256i, row: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(row), _mm256_sign_epi8(query, row));
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load<T>(block: &[T; LANES]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: the block has 32 elements of one byte, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(block.as_ptr().cast()) }
}

/// The last elements of a slice and zeros, which add nothing to a sum.
#[inline]
pub(super) fn padded<T: Copy + Default>(tail: &[T]) -> [T; LANES] {
    let mut block = [T::default(); LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn horizontal_sum(v: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two)))
}
