//! Mapped bytes seen as the signed codes that they hold.
#![allow(unsafe_code)]

/// The same bytes as `i8`.
#[must_use]
#[inline]
pub fn signed(bytes: &[u8]) -> &[i8] {
    // SAFETY: `u8` and `i8` have one size and alignment, and every bit pattern is a value of both.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}
