//! AVX2 with FMA and F16C: 32 bytes a register. Every x86-64 processor since 2013 (Intel) and 2015 (AMD) has them.

pub(super) mod f16;
pub(super) mod f32;
pub(super) mod int4;
pub(super) mod int8;
pub(super) mod resample;
pub(super) mod signs;

/// Whether this processor (and its operating system) has what the functions below need.
pub(crate) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}
