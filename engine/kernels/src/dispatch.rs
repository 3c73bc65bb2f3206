//! The kernels of each instruction set, and which of them this machine has.
//!
//! A [`Kernel`] exists only for an instruction set that was found on this machine, which is what makes calling it
//! safe. Tests and benches walk [`Kernel::available`]; everybody else asks for [`Kernel::best`], which `choice` chose.
#![allow(unsafe_code)]

use crate::InstructionSet;
use crate::portable;
use crate::product::Product;
use crate::signs::Signs;

/// The kernels of one instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    instruction_set: InstructionSet,
    /// Inner products of `f32` with `f32`; [`Kernel::dot`] and its siblings are these.
    pub float32: Product<f32, f32, f32>,
    /// Inner products of `f32` with `f16`, little-endian.
    pub float16: Product<f32, [u8; 2], f32>,
    /// Inner products of `i8` with `i8`, exact. Queries are in -127..=127; rows may hold any `i8`.
    pub int8: Product<i8, i8, i32>,
    /// Inner products of `i8` with codes of 4 bits, exact. Queries are laid out by [`crate::int4::prepare`].
    pub int4: Product<i8, u8, i32>,
    /// Agreements of a query with blocks of 1-bit codes, exact. Queries are laid out by [`crate::signs::prepare`].
    pub signs: Signs,
}

/// The [`Kernel`] of one instruction set: `dot` and `dot4` in a module for each kind of row, `sums` and `at_least` in that for
/// signs. The last modules may be named apart.
macro_rules! kernel {
    ($set:ident, $family:ident) => {
        kernel!($set, $family, $family::int8, $family::int4, $family::signs)
    };
    ($set:ident, $family:ident, $int8:path, $int4:path, $signs:path) => {{
        use $family::{f16, f32 as float32};
        use {$int4 as int4, $int8 as int8, $signs as signs};
        // SAFETY: `available` lists a kernel only after finding its instruction set; all of them check lengths.
        unsafe {
            Kernel {
                instruction_set: InstructionSet::$set,
                float32: Product::new("float32", 1, float32::dot, float32::dot4),
                float16: Product::new("float16", 1, f16::dot, f16::dot4),
                int8: Product::new("int8", 1, int8::dot, int8::dot4),
                int4: Product::new("int4", 2, int4::dot, int4::dot4),
                signs: Signs::new(signs::sums, signs::at_least),
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
                kernels.push(kernel!(Avx2, avx2));
            }
            if avx512::is_available() {
                kernels.push(kernel!(Avx512, avx512, avx512::int8, avx512::int4, avx2::signs));
            }
            if avx512::has_vnni() {
                kernels.push(kernel!(Avx512Vnni, avx512, avx512::int8_vnni, avx512::int4_vnni, avx2::signs));
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use crate::neon;
            kernels.push(kernel!(Neon, neon));
            if neon::has_dotprod() {
                kernels.push(kernel!(NeonDotprod, neon, neon::int8_dotprod, neon::int4_dotprod, neon::signs));
            }
        }
        kernels
    }

    /// The best kernel of this machine, chosen once; see [`crate::kernel_choice`].
    #[must_use]
    #[inline]
    pub fn best() -> &'static Self {
        &crate::kernel_choice().kernel
    }

    pub(crate) const PORTABLE: Self = kernel!(Portable, portable);

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

#[cfg(test)]
impl Kernel {
    /// A kernel with one kind of product that is wrong by a little, when it is asked for four rows.
    pub(crate) fn broken(self, kind: &str) -> Self {
        let mut broken = self;
        // SAFETY: these functions are sound for every input.
        unsafe {
            match kind {
                "float32" => broken.float32 = Product::new("float32", 1, portable::f32::dot, |_, _| [0.5; 4]),
                "float16" => broken.float16 = Product::new("float16", 1, portable::f16::dot, |_, _| [0.5; 4]),
                "int8" => broken.int8 = Product::new("int8", 1, portable::int8::dot, |_, _| [1; 4]),
                "int4" => broken.int4 = Product::new("int4", 2, portable::int4::dot, |_, _| [1; 4]),
                _ => broken.signs = Signs::new(portable::signs::sums, |_, _, _, rows| rows.fill(1)),
            }
        }
        broken
    }
}
