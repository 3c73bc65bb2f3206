//! Lengths of vectors, and making them one.
//!
//! Sums are in `f64`, where the square of no `f32` overflows or vanishes: the largest and the smallest vectors are
//! normalised as well as any, without scaling them first.

const LANES: usize = 8;

/// Euclidean length of `v`. Infinite or NaN exactly when an element is.
#[must_use]
pub fn norm(v: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (blocks, tail) = v.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] += f64::from(block[lane]) * f64::from(block[lane]);
        }
    }
    let tail: f64 = tail.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (lanes.iter().sum::<f64>() + tail).sqrt()
}

/// Scales `v` to length one and returns the length it had.
///
/// `None`, and `v` unchanged, when it has no direction: empty, all zero, or with an element that is not finite.
#[must_use = "None says that the vector has no direction and was left as it is"]
pub fn normalize(v: &mut [f32]) -> Option<f64> {
    let length = norm(v);
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    for x in v {
        *x = (f64::from(*x) / length) as f32;
    }
    Some(length)
}
