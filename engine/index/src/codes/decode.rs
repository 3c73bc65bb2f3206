//! Codes back to elements, as exactly as they say.

use super::bits;
use super::layout::{CodeKind, Codes};
use super::rotation::Rotation;
use super::scalar::Grid;

impl Codes<'_> {
    /// Writes what is known of a row: the mean, its code, and the second level where there is one.
    ///
    /// `out`: `[dim]`. It is off by at most half a step an element, 1/508 of a step with a second level;
    /// for 1-bit codes nothing is known of a single element.
    ///
    /// # Panics
    /// On a row that is not there, or another dimension.
    pub fn decode(&self, row: u32, out: &mut [f32]) {
        assert_eq!(out.len(), self.info().dim, "codes: the row has another dimension");
        let factors = self.factors(row);
        let grid = Grid { scale: factors.scale, offset: factors.offset };
        let (code, residual) = (self.code(row), self.residual(row));
        if self.info().kind == CodeKind::Bits {
            let mut rotated = vec![0.0; Rotation::width(out.len())];
            bits::decode(factors, code, &mut rotated);
            self.info().rotation().turn_back(&mut rotated);
            out.copy_from_slice(&rotated[..out.len()]);
        }
        for (at, (out, mean)) in out.iter_mut().zip(self.mean()).enumerate() {
            let element = match self.info().kind {
                CodeKind::Int8 => grid.byte(code, at),
                CodeKind::Int4 => grid.half(code, at),
                CodeKind::Int4x8 => grid.half(code, at) + grid.fine(residual, at),
                CodeKind::Bits => *out,
            };
            *out = mean + element;
        }
    }
}
