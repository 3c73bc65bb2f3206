//! Weighted sums of pixels: `madd` multiplies pairs of 16 bits, so a weight of 27 bits is two halves of at most 16, and
//! what the high halves sum to is shifted up at the end. Sums may wrap on the way; the last one fits, and is exact.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_packs_epi32, _mm_packus_epi16,
    _mm_set1_epi32, _mm_srai_epi32, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_add_epi32,
    _mm256_broadcastsi128_si256, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_packs_epi32, _mm256_packus_epi16,
    _mm256_permute4x64_epi64, _mm256_permutevar_ps, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi8,
    _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srai_epi32,
};

use crate::portable::resample as portable;
use crate::resample::{AT_ONCE, FRACTION_BITS, HALF, LOW_BITS, Tap, Taps};

/// Bytes that are loaded at a time.
const LOADED: usize = 16;

/// See [`crate::resample::mix_pixels`].
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](crate::avx2::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn mix_pixels(row: &[u8], taps: &Taps, out: &mut [u8]) {
    // The last pixel is stored with a byte too many; so are pixels loaded, at the row's end.
    let last = taps.len().saturating_sub(1);
    for (place, tap) in taps.iter().enumerate() {
        let loaded = 3 * tap.start + 3 * AT_ONCE * tap.halves.len() + (LOADED - 3 * AT_ONCE);
        if place == last || loaded > row.len() {
            portable::mix_pixel(row, tap, &mut out[3 * place..][..3]);
            continue;
        }
        let rgb = mix_pixel(&row[3 * tap.start..loaded], tap);
        out[3 * place..][..4].copy_from_slice(&rgb.to_le_bytes());
    }
}

/// Red, green and blue of one pixel in the lower three bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn mix_pixel(from: &[u8], tap: Tap<'_>) -> i32 {
    // Of four pixels: the first two as pairs of red, green and blue in the lower half, the other two in the upper.
    let pairs = _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, //
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
    );
    let (mut high, mut low) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (four, halves) in tap.halves.iter().enumerate() {
        let start = 3 * AT_ONCE * four;
        let pixels = load(&from[start..start + LOADED]);
        let pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(pixels), pairs);
        high = _mm256_add_epi32(high, _mm256_madd_epi16(pixels, in_pairs(halves.high)));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, in_pairs(halves.low)));
    }
    let sum = _mm256_add_epi32(_mm256_slli_epi32::<{ LOW_BITS as i32 }>(high), low);
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_srai_epi32::<{ FRACTION_BITS as i32 }>(_mm_add_epi32(sum, _mm_set1_epi32(HALF)));
    let words = _mm_packs_epi32(sum, sum);
    _mm_cvtsi128_si32(_mm_packus_epi16(words, words))
}

/// The first two of four halves four times over in the lower half of a register, the other two in the upper.
#[inline]
#[target_feature(enable = "avx2")]
fn in_pairs(halves: u64) -> __m256i {
    let all = _mm256_castsi256_ps(_mm256_set1_epi64x(halves as i64));
    _mm256_castps_si256(_mm256_permutevar_ps(all, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)))
}

/// The weighted sum of as many rows, from the first of `rows` on, as there are weights.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](crate::avx2::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn mix_rows(rows: &[u8], tap: Tap<'_>, out: &mut [u8]) {
    let width = out.len();
    let (blocks, rest) = out.as_chunks_mut::<LOADED>();
    for (block, out) in blocks.iter_mut().enumerate() {
        // Sums of the lower and the upper eight columns.
        let (mut high, mut low) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 2]);
        for (pair, weights) in tap.weights.chunks(2).enumerate() {
            let at = 2 * pair * width + block * LOADED;
            let first = load(&rows[at..at + LOADED]);
            // A weight without a partner gets one of zero, with any row.
            let (second, other) = match weights {
                [_, other] => (load(&rows[at + width..at + width + LOADED]), *other),
                _ => (first, 0),
            };
            let halves = |shift: fn(i32) -> i32| _mm256_set1_epi32((shift(weights[0]) & 0xFFFF) | (shift(other) << 16));
            let of_high = halves(|weight| weight >> LOW_BITS);
            let of_low = halves(|weight| weight & ((1 << LOW_BITS) - 1));
            for (side, bytes) in
                [_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second)].into_iter().enumerate()
            {
                let pairs = _mm256_cvtepu8_epi16(bytes);
                high[side] = _mm256_add_epi32(high[side], _mm256_madd_epi16(pairs, of_high));
                low[side] = _mm256_add_epi32(low[side], _mm256_madd_epi16(pairs, of_low));
            }
        }
        let [lower, upper] = [0, 1].map(|side| rounded(high[side], low[side]));
        // Packing interleaves the halves of both registers: the quarters are put in order again.
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(lower, upper));
        let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(words, words));
        // SAFETY: the block has 16 bytes, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) };
    }
    let from = width - rest.len();
    portable::mix_columns(rows, tap, out, from);
}

/// A sum of both halves, as a number from 0 to 255 if it is in range.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded(high: __m256i, low: __m256i) -> __m256i {
    let sum = _mm256_add_epi32(_mm256_slli_epi32::<{ LOW_BITS as i32 }>(high), low);
    _mm256_srai_epi32::<{ FRACTION_BITS as i32 }>(_mm256_add_epi32(sum, _mm256_set1_epi32(HALF)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8]) -> __m128i {
    let bytes: &[u8; LOADED] = bytes.first_chunk().expect("16 bytes are asked for");
    // SAFETY: there are 16 bytes, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
