//! A rotation that looks random, from a seed, for 1-bit codes.
//!
//! What a sign keeps of a row depends on how the row lies to the axes; after a random rotation no row lies badly.
//! A matrix of random numbers would cost the square of the dimension, so this is rounds of random sign changes and
//! a fast Hadamard transform, in turn over the first and the last elements where their number is not a power of two
//! (each round is a rotation or a reflection, so lengths and inner products stay as they are).

/// Rounds of signs and transform.
const ROUNDS: u64 = 4;

/// A rotation of rows of one dimension, which zeros fill up to a multiple of 64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    seed: u64,
    width: usize,
}

impl Rotation {
    pub(super) fn new(dim: usize, seed: u64) -> Self {
        Self { seed, width: Self::width(dim) }
    }

    /// Elements of a row of `dim` once it is rotated.
    pub(super) fn width(dim: usize) -> usize {
        dim.next_multiple_of(64)
    }

    /// Rotates `x`, `[width]`.
    pub(super) fn turn(self, x: &mut [f32]) {
        for round in 0..ROUNDS {
            self.change_signs(round, x);
            hadamard(self.part(round, x));
        }
    }

    /// Undoes [`Self::turn`].
    pub(super) fn turn_back(self, x: &mut [f32]) {
        for round in (0..ROUNDS).rev() {
            hadamard(self.part(round, x));
            self.change_signs(round, x);
        }
    }

    fn change_signs(self, round: u64, x: &mut [f32]) {
        for (at, word) in x.chunks_mut(64).enumerate() {
            let signs = scramble(self.seed ^ scramble(round << 32 | at as u64));
            for (bit, x) in word.iter_mut().enumerate() {
                *x = f32::from_bits(x.to_bits() ^ ((signs >> bit & 1) as u32) << 31);
            }
        }
    }

    /// What a round transforms: as many elements as a power of two allows, from either end.
    fn part(self, round: u64, x: &mut [f32]) -> &mut [f32] {
        let power = 1 << self.width.ilog2();
        if round.is_multiple_of(2) { &mut x[..power] } else { &mut x[self.width - power..] }
    }
}

/// Hadamard's transform of a power of two of elements, scaled to keep lengths; it undoes itself.
fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (x.len() as f32).sqrt();
    x.iter_mut().for_each(|x| *x *= scale);
}

/// A number that looks random (SplitMix64, Steele, Lea and Flood 2014).
pub(super) fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use fromagerie_kernels::norm;

    use super::*;

    #[test]
    fn it_keeps_lengths_and_can_be_undone() {
        for dim in [1, 63, 64, 65, 100, 256, 384, 768, 1000] {
            let rotation = Rotation::new(dim, 7);
            let before: Vec<f32> =
                (0..Rotation::width(dim)).map(|at| if at < dim { (at % 13) as f32 - 6.0 } else { 0.0 }).collect();
            let mut x = before.clone();
            rotation.turn(&mut x);
            assert!((norm(&x) / norm(&before) - 1.0).abs() < 1e-5, "dim {dim}");
            rotation.turn_back(&mut x);
            assert!(x.iter().zip(&before).all(|(x, y)| (x - y).abs() < 1e-4), "dim {dim}");
        }
    }

    #[test]
    fn an_axis_is_spread_over_all_elements() {
        for dim in [64, 128, 384, 1152] {
            for axis in [0, dim / 2, dim - 1] {
                let mut x = vec![0.0; dim];
                x[axis] = 1.0;
                Rotation::new(dim, 3).turn(&mut x);
                let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                assert!(largest < 6.0 / (dim as f32).sqrt(), "dim {dim}, axis {axis}: {largest}");
            }
        }
    }
}
