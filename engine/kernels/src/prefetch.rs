//! A hint to the memory that a row will be read soon.
#![allow(unsafe_code)]

/// Bytes in a cache line.
const LINE: usize = 64;
/// Lines asked for at most: what is longer streams well enough by itself.
const LINES_MAX: usize = 24;

/// Asks for the first cache lines of `row`. It changes nothing but the time that reading `row` will take.
#[inline]
pub fn prefetch<T>(row: &[T]) {
    let start = row.as_ptr().cast::<u8>();
    let skew = start.addr() % LINE;
    let lines = (skew + size_of_val(row)).div_ceil(LINE).min(LINES_MAX);
    for line in 0..lines {
        ask(start.wrapping_add(line * LINE).wrapping_sub(skew));
    }
}

#[inline]
fn ask(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) line, options(readonly, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}
