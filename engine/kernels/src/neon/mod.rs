//! NEON: 16 bytes a register. Every 64-bit Arm processor has it; whether `sdot` is there besides is asked.

pub(super) mod f16;
pub(super) mod f32;
pub(super) mod int4;
pub(super) mod int4_dotprod;
pub(super) mod int8;
pub(super) mod int8_dotprod;
pub(super) mod signs;

/// Whether this processor multiplies bytes four at a time.
pub(crate) fn has_dotprod() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

/// Bytes in a register.
const LANES: usize = 16;

/// The last elements of a slice and zeros, which add nothing to a sum.
#[inline]
fn padded<T: Copy + Default>(tail: &[T]) -> [T; LANES] {
    let mut block = [T::default(); LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}
