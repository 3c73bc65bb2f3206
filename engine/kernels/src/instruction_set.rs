//! The instruction sets that kernels are written for, and their names.

use std::fmt;

/// The instruction set a kernel is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InstructionSet {
    /// Plain Rust; runs everywhere.
    Portable,
    /// AVX2, FMA and F16C (x86-64).
    Avx2,
    /// AVX-512 F, BW and VL (x86-64).
    Avx512,
    /// AVX-512 with VNNI (x86-64).
    Avx512Vnni,
    /// NEON (aarch64).
    Neon,
    /// NEON with dot products of bytes (aarch64).
    NeonDotprod,
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512+vnni",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon+dotprod",
        })
    }
}
