//! The signs of all codes, in blocks of 32 nodes: one bit an element, which a sweep reads first.
//!
//! A sign says whether an element lies above its mean, which is the highest bit of its code. The query's side is what it says to
//! codes ([`super::grid`]), rounded to five bits; the agreement of both, stretched by what a row's elements are on average,
//! estimates the score without bias (as RaBitQ does row by row: Gao & Long 2024, arXiv:2405.12497). How far estimates fall behind is
//! measured when a graph is built.

use std::ops::Range;

use fromagerie_kernels::{int4, signs};

pub(super) use fromagerie_kernels::signs::block_bytes;

/// Nodes of a block.
pub(super) const NODES: u32 = signs::ROWS as u32;
/// The bit of a code that is its sign.
const SIGN: u8 = 8;

/// The blocks of a graph.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signs<'a> {
    pub(super) blocks: &'a [u8],
    pub(super) block_bytes: usize,
}

impl<'a> Signs<'a> {
    /// The blocks of nodes in sequence, from a multiple of [`NODES`].
    #[inline]
    pub(super) fn blocks_of(&self, nodes: Range<u32>) -> &'a [u8] {
        let (first, last) = (nodes.start / NODES, nodes.end.div_ceil(NODES));
        &self.blocks[first as usize * self.block_bytes..last as usize * self.block_bytes]
    }
}

/// How many blocks so many nodes have.
pub(super) fn block_count(nodes: usize) -> usize {
    nodes.div_ceil(signs::ROWS)
}

/// Writes a block from the codes of its nodes, `[n, code_bytes]`.
pub(super) fn write(codes: &[u8], code_bytes: usize, dim: usize, block: &mut [u8]) {
    block.fill(0);
    for (row, code) in codes.chunks_exact(code_bytes).enumerate() {
        (0..dim).filter(|at| int4::unpack(code, *at) & SIGN != 0).for_each(|at| signs::set(block, row, at));
    }
}

/// A query's side of signs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signed {
    plain: Vec<i8>,
    tables: Vec<u8>,
    /// The sizes of all elements.
    sizes: u32,
    /// What one of an agreement counts.
    step: f32,
}

impl Signed {
    /// Makes ready what a query says to codes, each dimension multiplied by its step.
    pub(super) fn prepare(&mut self, scaled: &[f32]) {
        let (largest, all) =
            scaled.iter().fold((0.0_f32, 0.0), |(largest, all), x| (x.abs().max(largest), x.abs() + all));
        // Rounding adds at most a half to each element, so that all of them stay within 16 bits.
        let room = f32::from(u16::MAX) - scaled.len() as f32;
        self.step = (largest / f32::from(signs::LARGEST)).max(all / room.max(1.0)).max(f32::MIN_POSITIVE);
        self.plain.clear();
        self.plain.extend(scaled.iter().map(|x| (x / self.step).round() as i8));
        self.sizes = self.plain.iter().map(|x| u32::from(x.unsigned_abs())).sum();
        self.tables.resize(block_bytes(scaled.len()), 0);
        signs::prepare(&self.plain, &mut self.tables);
    }

    pub(super) fn tables(&self) -> &[u8] {
        &self.tables
    }

    /// The least agreement that stands for a product of codes, less what the mean says to the query, of `product` or more, where
    /// elements are `spread` steps on average.
    pub(super) fn least(&self, product: f32, spread: f32) -> u16 {
        ((product / (spread * self.step) + self.sizes as f32) / 2.0).ceil() as u16
    }

    /// The product with a code that its signs stand for.
    pub(super) fn estimate(&self, code: &[u8], spread: f32) -> f32 {
        let sign =
            |(at, x): (usize, &i8)| if int4::unpack(code, at) & SIGN != 0 { i32::from(*x) } else { -i32::from(*x) };
        self.plain.iter().enumerate().map(sign).sum::<i32>() as f32 * self.step * spread
    }
}

/// How many steps an element is, on average, so that estimates have no bias: squares to sizes, weighed by `step`, the
/// grid's. `codes`: `[n, code_bytes]`.
pub(crate) fn spread<'c>(codes: impl Iterator<Item = &'c [u8]>, step: &[f32]) -> f32 {
    let (mut squares, mut sizes) = (0.0_f64, 0.0_f64);
    for code in codes {
        for (at, step) in step.iter().enumerate() {
            let (size, weight) = (f64::from(int4::unpack(code, at)) - 7.5, f64::from(*step).powi(2));
            squares += weight * size * size;
            sizes += weight * size.abs();
        }
    }
    if sizes > 0.0 { (squares / sizes) as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_highest_bits_of_its_codes() {
        let (dim, code_bytes) = (9, 8);
        let codes: Vec<u8> = (0..40 * code_bytes).map(|at| (at * 89 % 251) as u8).collect();
        let mut block = vec![0xff; block_bytes(dim)];
        write(&codes[..32 * code_bytes], code_bytes, dim, &mut block);
        let code = |row: usize| &codes[row * code_bytes..][..code_bytes];
        assert!(
            (0..32).all(|row| (0..dim).all(|at| signs::get(&block, row, at) == (int4::unpack(code(row), at) >= 8)))
        );
        write(&codes[32 * code_bytes..], code_bytes, dim, &mut block);
        assert!((8..32).all(|row| (0..dim).all(|at| !signs::get(&block, row, at))), "no node, no sign");
    }

    #[test]
    fn a_query_of_any_size_fits() {
        for dim in [1, 5, 1024, 5000, 65_536] {
            for peak in [0.0, 1e-30, 1.0, 3e4] {
                let query: Vec<f32> = (0..dim).map(|at| peak * ((at * 7919 % 1009) as f32 / 504.5 - 1.0)).collect();
                let mut signed = Signed::default();
                signed.prepare(&query);
                let code = vec![0x8f; int4::bytes(dim)];
                let all: f32 = query.iter().sum();
                let sizes = query.iter().map(|x| x.abs()).sum::<f32>();
                assert!((signed.estimate(&code, 1.0) - all).abs() <= 0.1 * sizes + f32::MIN_POSITIVE * dim as f32);
                assert_eq!((signed.least(-2.0 * sizes, 1.0), signed.least(f32::MAX, 1.0)), (0, u16::MAX));
            }
        }
    }
}
