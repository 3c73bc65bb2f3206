//! Rounding: elements to small whole numbers, and back.
//!
//! `r` is a row without the mean. What a code leaves out of an element is at most half a step, and the second level
//! cuts a step in 254, so that what it leaves out is at most 1/508 of one.

use fromagerie_kernels::int4;

/// Largest code of a byte.
pub(super) const BYTE_MAX: f32 = 127.0;
/// Middle of the codes 0..=15.
pub(super) const HALF_MIDDLE: f32 = 7.5;
/// Steps of the second level in one of the first.
pub(super) const FINE: f32 = 2.0 * BYTE_MAX;

/// Step and middle of a row of codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) offset: f32,
}

impl Grid {
    /// For bytes: as much below zero as above it.
    pub(super) fn symmetric(r: &[f32]) -> Self {
        let largest = finite(r).fold(0.0f32, |largest, x| largest.max(x.abs()));
        Self { scale: largest / BYTE_MAX, offset: 0.0 }
    }

    /// For half bytes: from the smallest element to the largest.
    pub(super) fn between(r: &[f32]) -> Self {
        let low = finite(r).fold(f32::INFINITY, f32::min);
        let high = finite(r).fold(f32::NEG_INFINITY, f32::max);
        if low > high {
            return Self { scale: 0.0, offset: 0.0 };
        }
        Self { scale: (high - low) / 15.0, offset: 0.5 * low + 0.5 * high }
    }

    /// Code -127..=127 of `x`.
    pub(super) fn byte_of(self, x: f32) -> i8 {
        (x * self.steps()).round_ties_even().clamp(-BYTE_MAX, BYTE_MAX) as i8
    }

    /// Codes -127..=127 of `r` into the first bytes of `codes`.
    pub(super) fn to_bytes(self, r: &[f32], codes: &mut [u8]) {
        for (code, x) in codes.iter_mut().zip(r) {
            *code = self.byte_of(*x) as u8;
        }
    }

    /// Codes 0..=15 of `r`, two to a byte.
    pub(super) fn to_halves(self, r: &[f32], codes: &mut [u8]) {
        let steps = self.steps();
        let half = |x: f32| ((x - self.offset) * steps + HALF_MIDDLE).round_ties_even().clamp(0.0, 15.0) as u8;
        for (byte, pair) in codes.iter_mut().zip(r.chunks(2)) {
            *byte = half(pair[0]) | pair.get(1).map_or(0, |x| half(*x) << 4);
        }
    }

    /// The second level: what `codes` leave out of `r`, in 1/254 of a step; nothing where there is no room for it.
    pub(super) fn to_residual(self, r: &[f32], codes: &[u8], residual: &mut [u8]) {
        let fine = Self { scale: self.scale / FINE, offset: 0.0 };
        for (at, (code, x)) in residual.iter_mut().zip(r).enumerate() {
            *code = fine.byte_of(x - self.half(codes, at)) as u8;
        }
    }

    /// Element `at` of a row in bytes.
    pub(super) fn byte(self, codes: &[u8], at: usize) -> f32 {
        self.scale * f32::from(codes[at] as i8)
    }

    /// Element `at` of a row in half bytes.
    pub(super) fn half(self, codes: &[u8], at: usize) -> f32 {
        self.offset + self.scale * (f32::from(int4::unpack(codes, at)) - HALF_MIDDLE)
    }

    /// What the second level adds to it.
    pub(super) fn fine(self, residual: &[u8], at: usize) -> f32 {
        self.scale / FINE * f32::from(residual[at] as i8)
    }

    /// Steps in one; 0 where all elements are equal and every code will do.
    fn steps(self) -> f32 {
        if self.scale > 1e-30 { 1.0 / self.scale } else { 0.0 }
    }
}

fn finite(r: &[f32]) -> impl Iterator<Item = f32> + '_ {
    r.iter().copied().filter(|x| x.is_finite())
}
