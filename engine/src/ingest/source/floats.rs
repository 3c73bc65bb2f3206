//! Rows of little-endian numbers, as NumPy lays them out, read as f32.

use half::f16;

use super::SourceError;

/// Longest vector that is read.
const DIM_MAX: u64 = 65_536;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    F16,
    F32,
    F64,
}

impl Float {
    /// By NumPy's name, such as `<f4`.
    ///
    /// # Errors
    /// Another type, or another order of bytes.
    pub(super) fn of(name: &str) -> Result<Float, SourceError> {
        match name {
            "<f2" => Ok(Float::F16),
            "<f4" => Ok(Float::F32),
            "<f8" => Ok(Float::F64),
            _ => Err(SourceError::unsupported(format!(
                "numbers of type {name:?}; convert them to little-endian float32 (astype('<f4')), float16 or float64"
            ))),
        }
    }

    /// Bytes of a number.
    pub(super) fn bytes(self) -> u64 {
        match self {
            Float::F16 => 2,
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }

    /// The numbers in `bytes`.
    pub(super) fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Float::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Float::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Float::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        }
    }
}

/// Rows and dimension of a matrix of this shape.
///
/// # Errors
/// It is no matrix, or its rows are too long.
pub(super) fn matrix(shape: &[u64]) -> Result<(u64, u64), SourceError> {
    match *shape {
        [rows, dim] if (1..=DIM_MAX).contains(&dim) => Ok((rows, dim)),
        _ => Err(SourceError::unsupported(format!(
            "an array of shape {shape:?}; wanted is [vectors, dimensions] with 1 to {DIM_MAX} dimensions"
        ))),
    }
}
