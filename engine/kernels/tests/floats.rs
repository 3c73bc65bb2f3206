//! Goal: every kernel for floats that this machine has computes what the reference computes.
//!
//! Method: all dimensions from 1 to 4096 once, random and adversarial values by proptest, and the bound that
//! `reference.rs` states. A kernel may overflow where the bound says so; it may never be finite and wrong.

mod common;

use common::{dims, noise};
use fromagerie_kernels::{Kernel, VARIABLE, norm, normalize, reference};
use half::f16;
use proptest::prelude::*;

fn assert_close(kernel: &Kernel, got: f32, a: &[f32], b: &[f32]) {
    let set = kernel.instruction_set();
    let (want, bound) = (reference::dot(a, b), reference::dot_bound(a, b));
    if want.is_nan() {
        assert!(got.is_nan(), "{set}: dim {}: {got}, not NaN", a.len());
    } else if got.is_finite() {
        let off = (f64::from(got) - want).abs();
        assert!(off <= bound, "{set}: dim {}: {got} is {off:e} from {want}, bound {bound:e}", a.len());
    } else {
        let magnitude: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) * f64::from(*y)).abs()).sum();
        assert!(magnitude >= f64::from(f32::MAX), "{set}: dim {}: {got} for {want}", a.len());
    }
}

/// The same with rows of halves.
fn check_halves(query: &[f32], halves: &[[u8; 2]]) {
    let dim = query.len();
    let row = |id: usize| &halves[id * dim..][..dim];
    for kernel in Kernel::available() {
        let mut scattered = Vec::new();
        kernel.float16.dot_scattered(query, &[0, 1, 2, 3, 4], row, |_, score| scattered.push(score));
        for (n, score) in scattered.into_iter().enumerate() {
            let alone = kernel.float16.dot(query, row(n));
            assert_close(&kernel, alone, query, &reference::widen(row(n)));
            assert!(score.to_bits() == alone.to_bits() || (score.is_nan() && alone.is_nan()));
        }
    }
}

/// One query against five rows, so that both the four-row pass of scattered rows and the rest are used.
fn check_all(query: &[f32], rows: &[f32]) {
    let dim = query.len();
    for kernel in Kernel::available() {
        let mut scores = vec![f32::NAN; rows.len() / dim];
        kernel.dot_rows(query, rows, &mut scores);
        let mut scattered = Vec::new();
        let ids: Vec<usize> = (0..scores.len()).collect();
        kernel.dot_scattered(query, &ids, |id| &rows[id * dim..][..dim], |_, score| scattered.push(score));
        for (n, row) in rows.chunks_exact(dim).enumerate() {
            let alone = kernel.dot(query, row);
            assert_close(&kernel, alone, query, row);
            let same = |x: f32| x.to_bits() == alone.to_bits() || (x.is_nan() && alone.is_nan());
            assert!(
                same(scores[n]) && same(scattered[n]),
                "{}: a row's score depends on the path",
                kernel.instruction_set()
            );
        }
    }
}

#[test]
fn every_dimension_to_4096() {
    for dim in 1..=4096 {
        let (query, rows) = (noise(dim as u64, dim), noise(dim as u64 + 9999, 5 * dim));
        check_all(&query, &rows);
    }
}

#[test]
fn halves_of_every_dimension() {
    for dim in dims() {
        let halves: Vec<_> =
            noise(dim as u64 + 77, 5 * dim).into_iter().map(|x| f16::from_f32(x).to_le_bytes()).collect();
        check_halves(&noise(dim as u64, dim), &halves);
    }
}

#[test]
fn every_half_there_is() {
    let every: Vec<[u8; 2]> = (0..=u16::MAX).map(u16::to_le_bytes).collect();
    for kernel in Kernel::available() {
        for half in &every {
            let mut row = [[0, 0]; 17];
            for at in [0, 7, 16] {
                row[at] = *half;
                let mut query = [0.0; 17];
                query[at] = 1.0;
                assert_close(&kernel, kernel.float16.dot(&query, &row), &query, &reference::widen(&row));
                row[at] = [0, 0];
            }
        }
    }
}

#[test]
fn a_nan_anywhere_is_seen() {
    for dim in [1, 7, 8, 15, 16, 17, 31, 32, 33, 47, 64, 257] {
        for at in 0..dim {
            let (query, mut rows) = (noise(1, dim), noise(2, 5 * dim));
            for row in rows.chunks_exact_mut(dim) {
                row[at] = f32::NAN;
            }
            check_all(&query, &rows);
        }
    }
}

#[test]
fn no_vectors_and_no_dimensions() {
    for kernel in Kernel::available() {
        assert_eq!(kernel.dot(&[], &[]), 0.0);
        kernel.dot_rows(&[1.0, 2.0], &[], &mut []);
        let mut out = [f32::NAN; 3];
        kernel.dot_rows(&[], &[], &mut out);
        assert_eq!(out, [0.0; 3]);
    }
}

#[test]
#[should_panic(expected = "different lengths")]
fn different_lengths_are_a_broken_invariant() {
    let _ = fromagerie_kernels::dot(&[1.0], &[1.0, 2.0]);
}

#[test]
#[should_panic(expected = "one row for each output")]
fn half_a_row_is_a_broken_invariant() {
    fromagerie_kernels::dot_rows(&[1.0, 2.0], &[1.0, 2.0, 3.0], &mut [0.0]);
}

#[test]
fn normalize_refuses_what_has_no_direction() {
    for bad in [vec![], vec![0.0; 5], vec![-0.0], vec![1.0, f32::NAN], vec![f32::INFINITY, 1.0]] {
        let mut v = bad.clone();
        assert_eq!(normalize(&mut v), None);
        assert!(v.iter().zip(&bad).all(|(x, y)| x.to_bits() == y.to_bits()), "changed although refused");
    }
}

#[test]
fn normalize_reaches_both_ends_of_f32() {
    for value in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), 1.0] {
        for dim in [1, 3, 64, 4096] {
            let mut v = vec![value; dim];
            let length = normalize(&mut v).expect("a direction");
            assert!((length / (f64::from(value.abs()) * (dim as f64).sqrt()) - 1.0).abs() < 1e-12);
            assert!((norm(&v) - 1.0).abs() < 1e-6, "{value} x {dim}: {}", norm(&v));
        }
    }
}

#[test]
fn the_choice_is_the_last_available_or_the_one_asked_for() {
    let best = Kernel::available().pop().expect("the portable kernel").instruction_set().to_string();
    let wanted = std::env::var(VARIABLE).unwrap_or(best);
    assert_eq!(Kernel::best().instruction_set().to_string(), wanted);
}

fn adversarial() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1.0f32..1.0,
        1 => any::<f32>(),
        1 => Just(f32::MAX),
        1 => Just(f32::MIN),
        1 => Just(f32::MIN_POSITIVE),
        1 => Just(f32::from_bits(1)),
        1 => Just(-0.0f32),
        1 => -1e-40f32..1e-40,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adversarial_values((query, rows) in (1usize..200).prop_flat_map(|dim| {
        (prop::collection::vec(adversarial(), dim), prop::collection::vec(adversarial(), 5 * dim))
    })) {
        check_all(&query, &rows);
    }

    #[test]
    fn adversarial_halves((query, halves) in (1usize..200).prop_flat_map(|dim| {
        (prop::collection::vec(adversarial(), dim), prop::collection::vec(any::<[u8; 2]>(), 5 * dim))
    })) {
        check_halves(&query, &halves);
    }

    #[test]
    fn all_equal(value in adversarial(), dim in 1usize..4096) {
        check_all(&vec![value; dim], &vec![value; 5 * dim]);
    }

    #[test]
    fn norms(v in prop::collection::vec(adversarial(), 0..300)) {
        let (got, want) = (norm(&v), reference::norm(&v));
        prop_assert!(got == want || (got - want).abs() <= want * 1e-12 || (got.is_nan() && want.is_nan()));
        let mut unit = v;
        match normalize(&mut unit) {
            Some(_) => prop_assert!((norm(&unit) - 1.0).abs() < 1e-5),
            None => prop_assert!(!want.is_finite() || want == 0.0),
        }
    }
}
