//! Vectors as they lie in memory and in files: single or half floats.
//!
//! A collection of halves keeps each element rounded to the nearest f16 (ties to even), everywhere alike: in the journal, in
//! memory and in segments. So a row scores the same before and after it is sealed.

use std::borrow::Cow;
use std::ops::Range;

use half::f16;

use crate::batch::VectorType;
use crate::mmap;

/// Vectors, one after the other, as they are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Vectors<'a> {
    /// Single floats.
    F32(&'a [f32]),
    /// Half floats, little-endian.
    F16(&'a [[u8; 2]]),
}

impl<'a> Vectors<'a> {
    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Vectors::F32(floats) => floats.len(),
            Vectors::F16(halves) => halves.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of `range`.
    ///
    /// # Panics
    /// When the range does not lie inside.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Vectors<'a> {
        match self {
            Vectors::F32(floats) => Vectors::F32(&floats[range]),
            Vectors::F16(halves) => Vectors::F16(&halves[range]),
        }
    }

    /// The same as single floats, which hold every half exactly.
    pub fn to_f32(self) -> Cow<'a, [f32]> {
        match self {
            Vectors::F32(floats) => Cow::Borrowed(floats),
            Vectors::F16(halves) => Cow::Owned(halves.iter().map(|half| widened(*half)).collect()),
        }
    }

    /// `bytes` as vectors of this type; none when they are no whole elements, or not aligned.
    pub(crate) fn of_bytes(kind: VectorType, bytes: &'a [u8]) -> Option<Vectors<'a>> {
        match kind {
            VectorType::F32 => mmap::floats(bytes).map(Vectors::F32),
            VectorType::F16 => match bytes.as_chunks::<2>() {
                (halves, []) => Some(Vectors::F16(halves)),
                _ => None,
            },
        }
    }

    /// The bytes as they lie.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Vectors::F32(floats) => mmap::bytes_of(floats),
            Vectors::F16(halves) => halves.as_flattened(),
        }
    }

    /// Whether every element is finite and not all are zero.
    pub(crate) fn has_direction(self) -> bool {
        let floats = self.to_f32();
        floats.iter().all(|x| x.is_finite()) && floats.iter().any(|&x| x != 0.0)
    }
}

/// Vectors on the heap.
#[derive(Debug)]
pub(crate) enum VectorBuf {
    F32(Vec<f32>),
    F16(Vec<[u8; 2]>),
}

impl Default for VectorBuf {
    fn default() -> VectorBuf {
        VectorBuf::F32(Vec::new())
    }
}

impl VectorBuf {
    pub(crate) fn with_capacity(kind: VectorType, elements: usize) -> VectorBuf {
        match kind {
            VectorType::F32 => VectorBuf::F32(Vec::with_capacity(elements)),
            VectorType::F16 => VectorBuf::F16(Vec::with_capacity(elements)),
        }
    }

    pub(crate) fn get(&self) -> Vectors<'_> {
        match self {
            VectorBuf::F32(floats) => Vectors::F32(floats),
            VectorBuf::F16(halves) => Vectors::F16(halves),
        }
    }

    /// Adds a vector, rounded to what is kept.
    pub(crate) fn push(&mut self, vector: &[f32]) {
        match self {
            VectorBuf::F32(floats) => floats.extend_from_slice(vector),
            VectorBuf::F16(halves) => halves.extend(vector.iter().map(|&x| narrowed(x))),
        }
    }

    /// Adds vectors of the same type as they are.
    pub(crate) fn extend(&mut self, vectors: Vectors<'_>) {
        match (self, vectors) {
            (VectorBuf::F32(floats), Vectors::F32(more)) => floats.extend_from_slice(more),
            (VectorBuf::F16(halves), Vectors::F16(more)) => halves.extend_from_slice(more),
            (buf, vectors) => buf.push(&vectors.to_f32()),
        }
    }
}

/// The nearest half, ties to even.
pub(crate) fn narrowed(x: f32) -> [u8; 2] {
    f16::from_f32(x).to_le_bytes()
}

/// The half as it is.
pub(crate) fn widened(half: [u8; 2]) -> f32 {
    f16::from_le_bytes(half).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let half = bits.to_le_bytes();
            let wide = widened(half);
            assert!(wide.is_nan() || narrowed(wide) == half, "{bits:04x}");
        }
    }

    #[test]
    fn bytes_are_whole_elements() {
        let mut buf = VectorBuf::with_capacity(VectorType::F16, 3);
        buf.push(&[1.0, -2.0, 0.1]);
        let bytes = buf.get().bytes().to_vec();
        assert_eq!(bytes, [0x00, 0x3C, 0x00, 0xC0, 0x66, 0x2E]);
        assert_eq!(Vectors::of_bytes(VectorType::F16, &bytes), Some(buf.get()));
        assert_eq!(Vectors::of_bytes(VectorType::F16, &bytes[1..]), None);
        assert_eq!(buf.get().slice(1..2).to_f32()[..], [-2.0]);
        assert!(buf.get().has_direction() && !Vectors::F32(&[0.0, 0.0]).has_direction());
    }
}
