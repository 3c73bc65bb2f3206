//! Goal: every kernel for codes of 8, 4 and 1 bits that this machine has gives the reference's very number.
//!
//! Method: random rows of all the dimensions that matter, the values that overflow a careless sum, and proptest.
//! Rows start at odd addresses and end where they end, so that a kernel that reads past them meets other bytes.

mod common;

use common::{bytes, dims};
use fromagerie_kernels::{Kernel, int4, reference, signed, signs};
use proptest::prelude::*;

/// Elements after a row that a kernel must not count.
const AFTER: usize = 7;

/// One query against five rows, alone, four at a time, and scattered.
fn check_int8(query: &[i8], rows: &[i8]) {
    let dim = query.len();
    let row = |id: usize| &rows[id * (dim + AFTER) + 1..][..dim];
    let want: Vec<i64> = (0..5).map(|id| reference::dot_int8(query, row(id))).collect();
    for kernel in Kernel::available() {
        let set = kernel.instruction_set();
        let alone: Vec<i64> = (0..5).map(|id| kernel.int8.dot(query, row(id)).into()).collect();
        assert_eq!(alone, want, "{set}: dim {dim}");
        let mut scattered = Vec::new();
        kernel.int8.dot_scattered(query, &[0, 1, 2, 3, 4], row, |_, sum| scattered.push(i64::from(sum)));
        assert_eq!(scattered, want, "{set}: dim {dim}, scattered");
    }
}

/// The same with rows of codes that `padding` bytes follow.
fn check_int4(query: &[i8], rows: &[u8], padding: usize) {
    let width = int4::bytes(query.len()) + padding;
    let mut prepared = vec![i8::MIN; 2 * width];
    int4::prepare(query, &mut prepared);
    let row = |id: usize| &rows[id * (width + AFTER) + 1..][..width];
    let want: Vec<i64> = (0..5).map(|id| reference::dot_int4(query, row(id))).collect();
    for kernel in Kernel::available() {
        let set = kernel.instruction_set();
        let alone: Vec<i64> = (0..5).map(|id| kernel.int4.dot(&prepared, row(id)).into()).collect();
        assert_eq!(alone, want, "{set}: dim {}", query.len());
        let mut scattered = Vec::new();
        kernel.int4.dot_scattered(&prepared, &[0, 1, 2, 3, 4], row, |_, sum| scattered.push(i64::from(sum)));
        assert_eq!(scattered, want, "{set}: dim {}, scattered", query.len());
        let mut in_a_block = Vec::new();
        let block: Vec<u8> = (0..5).flat_map(|id| row(id).iter().copied()).collect();
        kernel.int4.dot_block(&prepared, &block, width, |number, sum| in_a_block.push((number, i64::from(sum))));
        assert_eq!(in_a_block, want.iter().copied().enumerate().collect::<Vec<_>>(), "{set}: in a block");
    }
}

/// One query against two blocks of signs, at an odd address.
fn check_signs(query: &[i8], rows: &[u8]) {
    let query: Vec<i8> = query.iter().map(|x| x / 8).collect();
    let bytes = signs::block_bytes(query.len());
    let blocks: Vec<u8> = rows.iter().copied().cycle().take(2 * bytes + 1).collect();
    let (blocks, mut tables) = (&blocks[1..], vec![0xff; bytes]);
    signs::prepare(&query, &mut tables);
    let (block, other) = blocks.split_at(bytes);
    let want: Vec<i64> = (0..signs::ROWS).map(|row| reference::agreement(&query, block, row)).collect();
    for kernel in Kernel::available() {
        let set = kernel.instruction_set();
        let sums = kernel.signs.agreements(&tables, block);
        assert_eq!(sums.map(i64::from).to_vec(), want, "{set}: dim {}", query.len());
        for least in [0, 1, sums[3], sums[30].saturating_add(1), u16::MAX] {
            let bits =
                |sums: [u16; 32]| sums.iter().rev().fold(0, |rows: u32, sum| rows << 1 | u32::from(*sum >= least));
            let (expected, mut rows) = ([bits(sums), bits(kernel.signs.agreements(&tables, other))], [7; 2]);
            kernel.signs.at_least(&tables, blocks, least, &mut rows);
            assert_eq!(rows, expected, "{set}: {least} of dim {}", query.len());
        }
    }
}

/// Elements that a query may have.
fn query(seed: u64, dim: usize) -> Vec<i8> {
    signed(&bytes(seed, dim)).iter().map(|x| (*x).max(-i8::MAX)).collect()
}

#[test]
fn random_codes_of_every_dimension() {
    for dim in dims() {
        let rows = bytes(dim as u64 + 9999, 5 * (dim + 80 + AFTER) + 1);
        check_int8(&query(dim as u64, dim), signed(&rows));
        for padding in [0, 1, 31, 64] {
            check_int4(&query(dim as u64, dim), &rows, padding);
        }
        check_signs(&query(dim as u64, dim), &rows);
    }
}

#[test]
fn the_largest_codes_do_not_overflow() {
    for dim in dims() {
        let alternating = |x: i8, y: i8| (0..dim).map(|at| if at % 2 == 0 { x } else { y }).collect::<Vec<i8>>();
        for of_query in [alternating(127, 127), alternating(-127, -127), alternating(127, -127), alternating(0, 0)] {
            for (x, y) in [(127, 127), (-127, -127), (-128, -128), (127, -128), (-127, 127), (0, 0)] {
                let rows: Vec<i8> = [x, y].repeat(5 * (dim + AFTER));
                check_int8(&of_query, &rows);
            }
            for code in [0xff, 0x00, 0xf0, 0x0f] {
                check_int4(&of_query, &vec![code; 5 * (dim + AFTER) + 1], 0);
                check_signs(&of_query, &[code]);
            }
        }
    }
}

#[test]
fn no_elements() {
    for kernel in Kernel::available() {
        assert_eq!((kernel.int8.dot(&[], &[]), kernel.int4.dot(&[], &[])), (0, 0));
        assert_eq!(kernel.int4.dot4(&[], [&[]; 4]), [0; 4]);
        assert_eq!(kernel.signs.agreements(&[], &[]), [0; signs::ROWS]);
        kernel.signs.at_least(&[], &[], 1, &mut []);
    }
}

#[test]
#[should_panic(expected = "int8: the vectors have different lengths: a row of 2 elements wants a query of 2, not 3")]
fn another_length_is_a_broken_invariant() {
    let _ = Kernel::best().int8.dot4(&[1, 2, 3], [&[1, 2, 3], &[1, 2, 3], &[1, 2, 3], &[1, 2]]);
}

#[test]
#[should_panic(expected = "signs: 1 blocks of 64 bytes together want tables for one, in whole pairs, not 32")]
fn tables_for_other_rows_are_a_broken_invariant() {
    let _ = Kernel::best().signs.agreements(&[0; 32], &[0; 64]);
}

#[test]
#[should_panic(expected = "int4: the vectors have different lengths: a row of 2 elements wants a query of 4, not 3")]
fn a_query_that_was_not_prepared_is_a_broken_invariant() {
    let _ = Kernel::best().int4.dot(&[1, 2, 3], &[1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_codes((query, rows) in (1usize..600).prop_flat_map(|dim| {
        (prop::collection::vec(-127i8..=127, dim), prop::collection::vec(any::<u8>(), 5 * (dim + AFTER) + 1))
    })) {
        check_int8(&query, signed(&rows));
        check_int4(&query, &rows, 0);
        check_signs(&query, &rows);
    }
}
