//! Vectors of a retrieval space: always finite, always of unit length.

use crate::error::{Error, Result};

/// `vector` at unit length.
///
/// # Errors
/// [`Error::BadVector`] names the value at fault: a NaN, an infinity, or all zeros.
pub fn unit(mut vector: Vec<f32>) -> Result<Vec<f32>> {
    if fromagerie_index::normalize(&mut vector).is_some() {
        return Ok(vector);
    }
    let problem = match vector.iter().position(|v| !v.is_finite()) {
        Some(at) => format!("value {at} is {}", vector[at]),
        None => "it is all zeros, so it has no direction".to_owned(),
    };
    Err(Error::BadVector { problem })
}

/// The unit vector towards the weighted sum of unit vectors of one length.
///
/// # Errors
/// [`Error::EmptyQuery`] when there are none, or when they cancel out.
pub fn combine(mut terms: Vec<(Vec<f32>, f32)>) -> Result<Vec<f32>> {
    if terms.len() == 1 && terms[0].1 == 1.0 {
        return unit(terms.swap_remove(0).0);
    }
    let Some((first, _)) = terms.first() else {
        return Err(Error::EmptyQuery { problem: "give at least one text, image, vector, key or dialogue" });
    };
    let mut sum = vec![0.0; first.len()];
    for (vector, weight) in &terms {
        sum.iter_mut().zip(vector).for_each(|(s, v)| *s += v * weight);
    }
    let length = sum.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if length < 1e-6 {
        return Err(Error::EmptyQuery { problem: "its terms cancel out; change their weights" });
    }
    unit(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_direction_is_refused_by_name() {
        assert!(unit(vec![0.0, f32::NAN]).unwrap_err().to_string().contains("value 1 is NaN"));
        assert!(unit(vec![f32::NEG_INFINITY]).unwrap_err().to_string().contains("value 0 is -inf"));
        assert!(unit(vec![0.0; 3]).unwrap_err().to_string().contains("all zeros"));
    }

    #[test]
    fn terms_that_cancel_are_an_error_and_others_a_unit_vector() {
        let east = vec![1.0, 0.0];
        assert!(matches!(combine(vec![(east.clone(), 1.0), (east.clone(), -1.0)]), Err(Error::EmptyQuery { .. })));
        let mixed = combine(vec![(east, 2.0), (vec![0.0, 1.0], 2.0)]).unwrap();
        assert!((mixed[0] - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6 && (mixed[0] - mixed[1]).abs() < 1e-6);
    }
}
