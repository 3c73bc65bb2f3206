//! Inner products of `f32`: eight a register, two sums a row, one row or four rows a pass.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
};

const LANES: usize = 8;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX2 and FMA ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_many(a, [b])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX2 and FMA ([`is_available`](super::is_available)).
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot_many<const N: usize>(query: &[f32], rows: [&[f32]; N]) -> [f32; N] {
    let dim = query.len();
    assert!(rows.iter().all(|row| row.len() == dim), "dot: a row has another length than the query");
    let mut even = [_mm256_setzero_ps(); N];
    let mut odd = [_mm256_setzero_ps(); N];
    let mut at = 0;
    while at + 2 * LANES <= dim {
        for r in 0..N {
            // SAFETY: at + 16 <= dim, and query and every row hold dim floats, as asserted above.
            unsafe {
                let (q, row) = (query.as_ptr().add(at), rows[r].as_ptr().add(at));
                even[r] = _mm256_fmadd_ps(_mm256_loadu_ps(q), _mm256_loadu_ps(row), even[r]);
                odd[r] = _mm256_fmadd_ps(_mm256_loadu_ps(q.add(LANES)), _mm256_loadu_ps(row.add(LANES)), odd[r]);
            }
        }
        at += 2 * LANES;
    }
    if at + LANES <= dim {
        for r in 0..N {
            // SAFETY: at + 8 <= dim, and query and every row hold dim floats, as asserted above.
            unsafe {
                let (q, row) = (query.as_ptr().add(at), rows[r].as_ptr().add(at));
                even[r] = _mm256_fmadd_ps(_mm256_loadu_ps(q), _mm256_loadu_ps(row), even[r]);
            }
        }
        at += LANES;
    }
    let mut out = [0.0; N];
    for r in 0..N {
        let tail = query[at..].iter().zip(&rows[r][at..]).fold(0.0f32, |sum, (x, y)| x.mul_add(*y, sum));
        out[r] = horizontal_sum(_mm256_add_ps(even[r], odd[r])) + tail;
    }
    out
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn horizontal_sum(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<0b01>(two, two)))
}
