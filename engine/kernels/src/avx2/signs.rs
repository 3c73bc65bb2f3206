//! Agreements with 1-bit codes: a shuffle looks up two patterns of 16 rows, one in each half of a register.
//!
//! What four patterns say fits a byte; then bytes are added as if they were pairs: one sum of a pair's low byte and 256 times its
//! high byte, which may overflow, and one of its high byte alone. The second, shifted, is taken off the first at the end.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi16, _mm_cmpeq_epi16, _mm_max_epu16, _mm_movemask_epi8, _mm_packs_epi16,
    _mm_set1_epi16, _mm_storeu_si128, _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_add_epi8, _mm256_add_epi16,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_sub_epi16,
};

use super::int8::{LANES, load};
use crate::signs::ROWS;

/// The agreement of a query with each row of a block.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn sums(tables: &[u8], block: &[u8]) -> [u16; ROWS] {
    let mut sums = [0; ROWS];
    for (sum, eight) in sums.as_chunks_mut::<8>().0.iter_mut().zip(eights(tables, block)) {
        // SAFETY: eight sums have 16 bytes, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(sum.as_mut_ptr().cast(), eight) };
    }
    sums
}

/// The rows of blocks whose agreement is `least` or more: a word for each block, with bit `r` for row `r`.
///
/// # Safety
/// The processor must have AVX2 ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn at_least(tables: &[u8], blocks: &[u8], least: u16, rows: &mut [u32]) {
    let least = _mm_set1_epi16(least.cast_signed());
    for (rows, block) in rows.iter_mut().zip(blocks.chunks_exact(tables.len().max(1))) {
        let [a, b, c, d] = eights(tables, block).map(|sums| _mm_cmpeq_epi16(_mm_max_epu16(sums, least), sums));
        let (low, high) = (_mm_movemask_epi8(_mm_packs_epi16(a, b)), _mm_movemask_epi8(_mm_packs_epi16(c, d)));
        *rows = low as u32 | (high as u32) << 16;
    }
}

/// The agreements of rows 0 to 7, 8 to 15, and so on.
#[inline]
#[target_feature(enable = "avx2")]
fn eights(tables: &[u8], block: &[u8]) -> [__m128i; 4] {
    let (mut low, mut high) = (Pairs::none(), Pairs::none());
    let (tables, patterns) = (tables.as_chunks::<LANES>().0, block.as_chunks::<LANES>().0);
    let ((four_tables, tables), (four_patterns, patterns)) = (tables.as_chunks::<4>(), patterns.as_chunks::<4>());
    for (tables, patterns) in four_tables.iter().zip(four_patterns) {
        let (mut low_bytes, mut high_bytes) = looked_up(&tables[0], &patterns[0]);
        for at in 1..4 {
            let (more_low, more_high) = looked_up(&tables[at], &patterns[at]);
            low_bytes = _mm256_add_epi8(low_bytes, more_low);
            high_bytes = _mm256_add_epi8(high_bytes, more_high);
        }
        low.add(low_bytes);
        high.add(high_bytes);
    }
    for (table, patterns) in tables.iter().zip(patterns) {
        let (low_bytes, high_bytes) = looked_up(table, patterns);
        low.add(low_bytes);
        high.add(high_bytes);
    }
    let ([a, b], [c, d]) = (low.sums(), high.sums());
    [a, b, c, d]
}

/// What two tables say to two patterns of rows 0 to 15, and of rows 16 to 31.
#[inline]
#[target_feature(enable = "avx2")]
fn looked_up(tables: &[u8; LANES], patterns: &[u8; LANES]) -> (__m256i, __m256i) {
    let (tables, patterns, mask) = (load(tables), load(patterns), _mm256_set1_epi8(0x0f));
    let low = _mm256_shuffle_epi8(tables, _mm256_and_si256(patterns, mask));
    (low, _mm256_shuffle_epi8(tables, _mm256_and_si256(_mm256_srli_epi16::<4>(patterns), mask)))
}

/// Sums of pairs of bytes.
struct Pairs {
    both: __m256i,
    high: __m256i,
}

impl Pairs {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn none() -> Self {
        Self { both: _mm256_setzero_si256(), high: _mm256_setzero_si256() }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&mut self, bytes: __m256i) {
        self.both = _mm256_add_epi16(self.both, bytes);
        self.high = _mm256_add_epi16(self.high, _mm256_srli_epi16::<8>(bytes));
    }

    /// The sums of the first eight bytes of both halves of the registers, and of the others.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums(self) -> [__m128i; 2] {
        let even = halves(_mm256_sub_epi16(self.both, _mm256_slli_epi16::<8>(self.high)));
        let odd = halves(self.high);
        [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
    }
}

/// Both halves of a register, added.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(v: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v))
}
