//! Inner products of `f32`: sixteen a register, two sums a row, the tail under a mask.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __mmask16, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps,
    _mm512_setzero_ps,
};

const LANES: usize = 16;

/// Inner product of two slices of one length.
///
/// # Safety
/// The processor must have AVX-512F ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_many(a, [b])[0]
}

/// Inner products of `query` with four slices of its length.
///
/// # Safety
/// The processor must have AVX-512F ([`is_available`](super::is_available)).
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn dot4(query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
    dot_many(query, rows)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn dot_many<const N: usize>(query: &[f32], rows: [&[f32]; N]) -> [f32; N] {
    let dim = query.len();
    assert!(rows.iter().all(|row| row.len() == dim), "dot: a row has another length than the query");
    let mut even = [_mm512_setzero_ps(); N];
    let mut odd = [_mm512_setzero_ps(); N];
    let mut at = 0;
    while at + 2 * LANES <= dim {
        for r in 0..N {
            // SAFETY: at + 32 <= dim, and query and every row hold dim floats, as asserted above.
            unsafe {
                let (q, row) = (query.as_ptr().add(at), rows[r].as_ptr().add(at));
                even[r] = _mm512_fmadd_ps(_mm512_loadu_ps(q), _mm512_loadu_ps(row), even[r]);
                odd[r] = _mm512_fmadd_ps(_mm512_loadu_ps(q.add(LANES)), _mm512_loadu_ps(row.add(LANES)), odd[r]);
            }
        }
        at += 2 * LANES;
    }
    while at < dim {
        let left = (dim - at).min(LANES);
        let mask: __mmask16 = u16::MAX >> (LANES - left);
        for r in 0..N {
            // SAFETY: the mask has one bit for each of the `left` floats from `at` on, so lanes past dim are not read.
            unsafe {
                let q = _mm512_maskz_loadu_ps(mask, query.as_ptr().add(at));
                let row = _mm512_maskz_loadu_ps(mask, rows[r].as_ptr().add(at));
                even[r] = _mm512_fmadd_ps(q, row, even[r]);
            }
        }
        at += left;
    }
    let mut out = [0.0; N];
    for r in 0..N {
        out[r] = _mm512_reduce_add_ps(_mm512_add_ps(even[r], odd[r]));
    }
    out
}
