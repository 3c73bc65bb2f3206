//! The distance that graphs grow by.

use fromagerie_kernels::Kernel;
use hnsw_rs::anndists::dist::distances::Distance;

/// The distance `hnsw_rs` works with: 1 - cosine, never negative and never NaN.
///
/// The library asserts both inside its loops, and its own `DistDot` also asserts that rounding stays within
/// bounds, which near-duplicates need not obey.
#[derive(Clone, Copy, Debug)]
pub(super) struct CosineGap;

impl Distance<f32> for CosineGap {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - Kernel::best().dot(a, b)).max(0.0)
    }
}
