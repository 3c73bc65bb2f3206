//! Goal: codes say what they claim. What a code leaves out of an element is within its step, every score is within
//! its bound of the true inner product, nearly all are within three spreads, and ranking by codes alone finds what it
//! is stated to find.
//!
//! Method: a generated set with both kinds of queries, rows that are hard to round, all dimensions near a register's
//! width, and comparison with `f64` sums over the rows.

mod common;

use common::{Set, recall, set, truth};
use fromagerie_index::codes::{CodeKind, Codes, PreparedQuery, encode, encode_seeded};
use fromagerie_index::{DenseRows, Neighbor, Query, Rows};
use rayon::ThreadPoolBuilder;

/// Inner product in `f64`.
fn exact(a: &[f32], b: &[f32]) -> f64 {
    fromagerie_kernels::reference::dot(a, b)
}

fn each_query(set: &Set) -> impl Iterator<Item = &Vec<f32>> {
    set.like_rows.iter().chain(&set.like_text)
}

/// Largest difference between a row's elements and what its code says of them.
fn left_out(codes: &Codes<'_>, rows: &impl Rows, row: u32) -> f64 {
    let mut decoded = vec![f32::NAN; rows.dim()];
    codes.decode(row, &mut decoded);
    let differences = decoded.iter().zip(rows.row(row)).map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs());
    differences.fold(0.0, f64::max)
}

#[test]
fn a_code_is_within_its_step() {
    for dim in [1usize, 2, 3, 31, 32, 33, 63, 64, 65, 100, 257] {
        let set = set(300, dim.next_multiple_of(2), 1);
        let rows = DenseRows::new(&set.data[..300 * dim], dim).expect("whole rows");
        for (kind, steps) in [(CodeKind::Int8, 0.5), (CodeKind::Int4, 0.5), (CodeKind::Int4x8, 1.0 / 508.0)] {
            let bytes = encode(kind, &rows);
            let codes = Codes::parse(&bytes).expect("codes");
            for row in 0..300 {
                let (off, step) = (left_out(&codes, &rows, row), f64::from(codes.factors(row).scale));
                assert!(off <= steps * step + 3e-7, "{kind:?}, dim {dim}, row {row}: {off:e} of a step of {step:e}");
            }
        }
    }
}

#[test]
fn every_score_is_within_its_bound() {
    let set = set(2000, 96, 20);
    for kind in CodeKind::ALL {
        let bytes = encode(kind, &set.rows());
        let codes = Codes::parse(&bytes).expect("codes");
        let (mut query, mut within, mut looked_at) = (PreparedQuery::default(), 0, 0);
        let mut rescored_off = 0.0f64;
        for vector in each_query(&set) {
            query.prepare(&codes, vector);
            for row in 0..2000 {
                let (code, residual) = (codes.row(row), codes.residual(row));
                let want = exact(vector, set.rows().row(row));
                let off = (f64::from(query.score(code)) - want).abs();
                assert!(off <= query.bound(code).into(), "{kind:?}: {off} over {}", query.bound(code));
                within += usize::from(off <= 3.0 * f64::from(query.spread(code)));
                looked_at += 1;
                let off = (f64::from(query.rescore(code, residual)) - want).abs();
                let bound = query.rescore_bound(code, residual);
                assert!(off <= bound.into(), "{kind:?}: re-scored {off} over {bound}");
                rescored_off = rescored_off.max(off);
            }
        }
        assert!(within * 1000 >= looked_at * 990, "{kind:?}: {within} of {looked_at} within three spreads");
        if kind == CodeKind::Int4x8 {
            assert!(rescored_off < 4e-4, "the second level is off by {rescored_off}");
        }
    }
}

/// Mean recall@10 of ranking all rows by `score`.
fn ranked<'a>(
    set: &Set,
    vectors: impl Iterator<Item = &'a Vec<f32>>,
    mut score: impl FnMut(&[f32], u32) -> f32,
) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for vector in vectors {
        let mut found: Vec<_> =
            (0..set.rows().len() as u32).map(|row| Neighbor { row, score: score(vector, row) }).collect();
        found.sort();
        sum += recall(&found[..10], &truth(&set.rows(), &Query::new(vector, 10)));
        count += 1;
    }
    sum / f64::from(count)
}

#[test]
fn recall_of_codes_alone() {
    let set = set(5000, 64, 60);
    // Kind, whether re-scored, and recall@10 for queries like rows and queries like text, at least.
    for (kind, is_rescored, least) in [
        (CodeKind::Int8, false, [0.99, 0.99]),
        (CodeKind::Int4, false, [0.92, 0.88]),
        (CodeKind::Int4x8, false, [0.92, 0.88]),
        (CodeKind::Int4x8, true, [0.999, 0.999]),
        (CodeKind::Bits, false, [0.56, 0.46]),
    ] {
        let bytes = encode(kind, &set.rows());
        let codes = Codes::parse(&bytes).expect("codes");
        for (vectors, least) in [&set.like_rows, &set.like_text].into_iter().zip(least) {
            let mut query = PreparedQuery::default();
            let mut prepared: *const f32 = std::ptr::null();
            let got = ranked(&set, vectors.iter(), |vector, row| {
                if !std::ptr::eq(prepared, vector.as_ptr()) {
                    query.prepare(&codes, vector);
                    prepared = vector.as_ptr();
                }
                if is_rescored {
                    query.rescore(codes.row(row), codes.residual(row))
                } else {
                    query.score(codes.row(row))
                }
            });
            assert!(got >= least, "{kind:?}, re-scored {is_rescored}: recall {got}");
        }
    }
}

#[test]
fn one_row_four_rows_and_scattered_rows_score_alike() {
    let set = set(50, 100, 3);
    for kind in CodeKind::ALL {
        let bytes = encode(kind, &set.rows());
        let codes = Codes::parse(&bytes).expect("codes");
        let mut query = PreparedQuery::default();
        for vector in each_query(&set) {
            query.prepare(&codes, vector);
            let ids = [7, 49, 3, 3, 0, 12, 31];
            let alone = ids.map(|row| query.score(codes.row(row)));
            let mut scattered = Vec::new();
            query.score_scattered(&ids, |row| codes.row(row), |row, score| scattered.push((row, score)));
            assert_eq!(scattered, ids.into_iter().zip(alone).collect::<Vec<_>>());
            let four = query.score4([0, 1, 2, 3].map(|at| codes.row(ids[at])));
            assert_eq!(four[..], alone[..4]);
        }
    }
}

#[test]
fn a_row_is_a_query_too() {
    let set = set(200, 66, 1);
    let mut decoded = vec![0.0; 66];
    for kind in CodeKind::ALL {
        let bytes = encode(kind, &set.rows());
        let codes = Codes::parse(&bytes).expect("codes");
        let mut query = PreparedQuery::default();
        for (a, b) in (0..200).map(|row| (row, row * 7 % 200)) {
            query.prepare_row(&codes, a);
            let (score, bound) = (query.score(codes.row(b)), query.bound(codes.row(b)));
            codes.decode(a, &mut decoded);
            let known = if kind == CodeKind::Int8 { &set.data[a as usize * 66..][..66] } else { &decoded };
            let off = (f64::from(score) - exact(known, set.rows().row(b))).abs();
            assert!(off <= bound.into() && (off < 0.1 || kind == CodeKind::Bits), "{kind:?}: {off} over {bound}");
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let set = set(5000, 34, 1);
    for kind in CodeKind::ALL {
        let by = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| encode(kind, &set.rows()))
        };
        assert!(by(1) == by(3), "{kind:?}");
    }
}

#[test]
fn rows_that_are_hard_to_round() {
    let big = f32::MAX;
    let rows: Vec<f32> = [
        [0.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.5, 0.5],
        [1.0, 0.0, 0.0, 0.0],
        [f32::NAN, 1.0, 0.0, 0.0],
        [f32::INFINITY, 0.0, 0.0, 0.0],
        [big, -big, big, -big],
        [1e-40, -1e-40, 0.0, 1e-45],
    ]
    .concat();
    let few = [&rows[..0], &rows[..4], &rows[..12], &rows];
    let mut query = PreparedQuery::default();
    for data in few {
        let rows = DenseRows::new(data, 4).expect("whole rows");
        for kind in CodeKind::ALL {
            let bytes = encode(kind, &rows);
            let codes = Codes::parse(&bytes).expect("codes");
            assert_eq!((codes.info().rows, codes.info().bytes()), (rows.len(), bytes.len()));
            for vector in [[0.5; 4], [1.0, 0.0, 0.0, 0.0], [0.0; 4]] {
                query.prepare(&codes, &vector);
                for row in 0..rows.len() as u32 {
                    let (code, residual) = (codes.row(row), codes.residual(row));
                    let (score, fine) = (query.score(code), query.rescore(code, residual));
                    assert!(!score.is_nan() && !fine.is_nan(), "{kind:?}, row {row}");
                    if rows.row(row).iter().all(|x| x.abs() <= 1.0) && rows.len() <= 3 {
                        let want = exact(&vector, rows.row(row));
                        assert!((f64::from(score) - want).abs() <= query.bound(code).into(), "{kind:?}, row {row}");
                        let bound = query.rescore_bound(code, residual);
                        assert!((f64::from(fine) - want).abs() <= bound.into(), "{kind:?}, row {row}");
                    }
                }
            }
        }
    }
}

#[test]
fn equal_rows_are_encoded_exactly() {
    let data = [0.6, 0.8].repeat(50);
    let rows = DenseRows::new(&data, 2).expect("whole rows");
    for kind in [CodeKind::Int8, CodeKind::Int4, CodeKind::Int4x8] {
        let bytes = encode(kind, &rows);
        assert!(left_out(&Codes::parse(&bytes).expect("codes"), &rows, 17) < 1e-6);
    }
}

#[test]
fn the_estimate_from_bits_has_no_bias() {
    let set = set(40, 128, 4);
    let rows = set.rows();
    let (mut query, seeds) = (PreparedQuery::default(), 400u32);
    let queries: Vec<_> = each_query(&set).collect();
    let mut off = vec![0.0f64; queries.len() * 40];
    let mut spreads = off.clone();
    for seed in 0..seeds {
        let bytes = encode_seeded(CodeKind::Bits, &rows, seed.into());
        let codes = Codes::parse(&bytes).expect("codes");
        for (q, vector) in queries.iter().enumerate() {
            query.prepare(&codes, vector);
            for row in 0..40 {
                let at = q * 40 + row as usize;
                off[at] += f64::from(query.score(codes.row(row))) - exact(vector, rows.row(row));
                spreads[at] += f64::from(query.spread(codes.row(row)));
            }
        }
    }
    // A mean over rotations strays by its spread over the root of their number; five times that never happens.
    let strays = |(off, spread): (&f64, &f64)| (off / spread) * f64::from(seeds).sqrt();
    let worst = off.iter().zip(&spreads).map(strays).fold(0.0f64, |worst, x| worst.max(x.abs()));
    assert!(worst < 5.0, "the mean of {seeds} estimates is {worst} of its spreads off");
    let all = off.iter().zip(&spreads).map(strays).sum::<f64>() / off.len() as f64;
    assert!(all.abs() < 0.5, "estimates lean to one side by {all} spreads of their mean");
}

#[test]
fn the_spread_of_bits_is_that_of_their_estimates() {
    for dim in [64, 96, 256] {
        let set = set(1000, dim, 20);
        let bytes = encode(CodeKind::Bits, &set.rows());
        let codes = Codes::parse(&bytes).expect("codes");
        let mut query = PreparedQuery::default();
        let (mut within, mut count) = ([0u32; 3], 0u32);
        for vector in each_query(&set) {
            query.prepare(&codes, vector);
            for row in 0..1000 {
                let off = (f64::from(query.score(codes.row(row))) - exact(vector, set.rows().row(row))).abs();
                let spreads = off / f64::from(query.spread(codes.row(row)));
                for (within, most) in within.iter_mut().zip([1.0, 1.9, 3.0]) {
                    *within += u32::from(spreads <= most);
                }
                count += 1;
            }
        }
        let share = within.map(|within| f64::from(within) / f64::from(count));
        // 0.683, 0.943 and 0.997 of a normal distribution; one rotation leans a little to one side.
        assert!((0.65..0.72).contains(&share[0]) && share[1] > 0.93 && share[2] > 0.994, "dim {dim}: {share:?}");
    }
}
