//! AVX-512: 64 bytes a register, tails under a mask.
//!
//! What is asked for is what every server processor with AVX-512 has (F, BW and VL, since 2017). VNNI came two
//! years later and multiplies bytes four at a time; the kernels that use it stand in files of their own. Signs are
//! looked up as AVX2 does it: a block of them is not wide enough for more.

pub(super) mod f16;
pub(super) mod f32;
pub(super) mod int4;
pub(super) mod int4_vnni;
pub(super) mod int8;
pub(super) mod int8_vnni;

/// Whether this processor (and its operating system) has what the functions below need.
pub(crate) fn is_available() -> bool {
    super::avx2::is_available()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

/// Whether it has VNNI besides.
pub(crate) fn has_vnni() -> bool {
    is_available() && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// One bit for each of the first `left` bytes of a register (at most 64).
#[inline]
fn first(left: usize) -> u64 {
    u64::MAX >> (64 - left)
}
