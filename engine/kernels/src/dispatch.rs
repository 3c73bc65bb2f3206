//! Which kernels a process uses: the best that its processor has, chosen at the first use and kept.
//!
//! A [`Kernel`] exists only for an instruction set that was found on this machine, which is what makes calling it
//! safe. Tests and benches walk [`Kernel::available`]; everybody else calls the functions at the crate's root.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

use crate::{portable, prefetch::prefetch};

/// The instruction set a kernel is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InstructionSet {
    /// Plain Rust; runs everywhere.
    Portable,
    /// AVX2 and FMA (x86-64).
    Avx2,
    /// AVX-512 Foundation (x86-64).
    Avx512,
    /// NEON (aarch64).
    Neon,
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2+fma",
            Self::Avx512 => "avx512f",
            Self::Neon => "neon",
        })
    }
}

type Dot = unsafe fn(&[f32], &[f32]) -> f32;
type Dot4 = unsafe fn(&[f32], [&[f32]; 4]) -> [f32; 4];

/// The kernels of one instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    instruction_set: InstructionSet,
    dot: Dot,
    dot4: Dot4,
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
                kernels.push(Self { instruction_set: InstructionSet::Avx2, dot: avx2::dot, dot4: avx2::dot4 });
            }
            if avx512::is_available() {
                kernels.push(Self { instruction_set: InstructionSet::Avx512, dot: avx512::dot, dot4: avx512::dot4 });
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(Self { instruction_set: InstructionSet::Neon, dot: crate::neon::dot, dot4: crate::neon::dot4 });
        kernels
    }

    /// The best kernel of this machine.
    #[must_use]
    pub fn best() -> &'static Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::PORTABLE))
    }

    const PORTABLE: Self = Self { instruction_set: InstructionSet::Portable, dot: portable::dot, dot4: portable::dot4 };

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
        assert_eq!(a.len(), b.len(), "dot: the vectors have different lengths");
        // SAFETY: `available` makes a kernel only after finding its instruction set on this processor.
        unsafe { (self.dot)(a, b) }
    }

    /// See [`crate::dot4`].
    ///
    /// # Panics
    /// When a row's length is not `query.len()`.
    #[must_use]
    #[inline]
    pub fn dot4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        let dim = query.len();
        assert!(rows.iter().all(|row| row.len() == dim), "dot4: a row has another length than the query");
        // SAFETY: `available` makes a kernel only after finding its instruction set on this processor.
        unsafe { (self.dot4)(query, rows) }
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

    /// Inner products of `query` with `rows`, wherever they lie, handed to `each` in the order of `rows`.
    ///
    /// The rows are asked of memory first and computed afterwards, four at a time: in a graph search it is
    /// waiting for rows, not arithmetic, that costs.
    ///
    /// # Panics
    /// When a row's length is not `query.len()`.
    #[inline]
    pub fn dot_scattered<'a, T: Copy>(
        &self,
        query: &[f32],
        ids: &[T],
        row: impl Fn(T) -> &'a [f32],
        mut each: impl FnMut(T, f32),
    ) {
        for &id in ids {
            prefetch(row(id));
        }
        let (quads, tail) = ids.as_chunks::<4>();
        for quad in quads {
            let scores = self.dot4(query, quad.map(&row));
            for (id, score) in quad.iter().zip(scores) {
                each(*id, score);
            }
        }
        for &id in tail {
            each(id, self.dot(query, row(id)));
        }
    }
}
