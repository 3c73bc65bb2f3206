//! A hint to the memory that a vector will be read soon.
#![allow(unsafe_code)]

/// Floats in a cache line.
const LINE: usize = 16;
/// Lines asked for at most: what is longer streams well enough by itself.
const LINES_MAX: usize = 24;

/// Asks for the first cache lines of `row`. It changes nothing but the time that reading `row` will take.
#[inline]
pub fn prefetch(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(LINE).take(LINES_MAX) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the pointer comes from a live slice; a prefetch reads nothing and cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, LINE, LINES_MAX);
}
