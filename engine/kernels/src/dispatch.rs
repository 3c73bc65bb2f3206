//! Which kernels a process uses: the best that its processor has, chosen at the first use and kept.
//!
//! A [`Kernel`] exists only for an instruction set that was found on this machine, which is what makes calling it
//! safe. Tests and benches walk [`Kernel::available`]; everybody else asks for [`Kernel::best`].
#![allow(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

use crate::portable;
use crate::product::Product;

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

/// The kernels of one instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    instruction_set: InstructionSet,
    /// Inner products of `f32` with `f32`; [`Kernel::dot`] and its siblings are these.
    pub float32: Product<f32, f32, f32>,
    /// Inner products of `i8` with `i8`, exact. Queries are in -127..=127; rows may hold any `i8`.
    pub int8: Product<i8, i8, i32>,
    /// Inner products of `i8` with codes of 4 bits, exact. Queries are laid out by [`crate::int4::prepare`].
    pub int4: Product<i8, u8, i32>,
}

/// A [`Kernel`] of functions of one shape: `dot` and `dot4` in a module for each kind of code.
macro_rules! kernel {
    ($set:ident, $float32:path, $int8:path, $int4:path) => {{
        use {$float32 as float32, $int4 as int4, $int8 as int8};
        // SAFETY: `available` lists a kernel only after finding its instruction set; all of them check lengths.
        unsafe {
            Kernel {
                instruction_set: InstructionSet::$set,
                float32: Product::new("float32", 1, float32::dot, float32::dot4),
                int8: Product::new("int8", 1, int8::dot, int8::dot4),
                int4: Product::new("int4", 2, int4::dot, int4::dot4),
            }
        }
    }};
}

impl Kernel {
    /// Every kernel that runs on this machine, the best one last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            use crate::{avx2, avx512};
            if avx2::is_available() {
                kernels.push(kernel!(Avx2, avx2::f32, avx2::int8, avx2::int4));
            }
            if avx512::is_available() {
                kernels.push(kernel!(Avx512, avx512::f32, avx512::int8, avx512::int4));
            }
            if avx512::has_vnni() {
                kernels.push(kernel!(Avx512Vnni, avx512::f32, avx512::int8_vnni, avx512::int4_vnni));
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use crate::neon;
            kernels.push(kernel!(Neon, neon::f32, neon::int8, neon::int4));
            if neon::has_dotprod() {
                kernels.push(kernel!(NeonDotprod, neon::f32, neon::int8_dotprod, neon::int4_dotprod));
            }
        }
        kernels
    }

    /// The best kernel of this machine.
    #[must_use]
    pub fn best() -> &'static Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::PORTABLE))
    }

    const PORTABLE: Self = kernel!(Portable, portable::f32, portable::int8, portable::int4);

    /// What this kernel is written for.
    #[must_use]
    pub fn instruction_set(&self) -> InstructionSet {
        self.instruction_set
    }

    /// See [`crate::dot`].
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    #[inline]
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        self.float32.dot(a, b)
    }

    /// See [`crate::dot4`].
    ///
    /// # Panics
    /// When a row's length is not `query.len()`.
    #[must_use]
    #[inline]
    pub fn dot4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        self.float32.dot4(query, rows)
    }

    /// See [`crate::dot_rows`].
    ///
    /// One row after the other: four at a time are faster in cache (29 against 41 ns a row of 256) and much slower
    /// in memory (304 against 177), where the processor foresees one stream and not four.
    ///
    /// # Panics
    /// When `rows.len() != out.len() * query.len()`.
    pub fn dot_rows(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        let dim = query.len();
        assert_eq!(Some(rows.len()), out.len().checked_mul(dim), "dot_rows: rows must hold one row for each output");
        if dim == 0 {
            out.fill(0.0);
            return;
        }
        for (score, row) in out.iter_mut().zip(rows.chunks_exact(dim)) {
            *score = self.dot(query, row);
        }
    }

    /// Inner products of `query` with `rows`, wherever they lie; see [`Product::dot_scattered`].
    ///
    /// # Panics
    /// When a row's length is not `query.len()`.
    #[inline]
    pub fn dot_scattered<'a, T: Copy>(
        &self,
        query: &[f32],
        ids: &[T],
        row: impl Fn(T) -> &'a [f32],
        each: impl FnMut(T, f32),
    ) {
        self.float32.dot_scattered(query, ids, row, each);
    }
}
