//! A sample of all queries received, each with the same chance to be in it, in bounded memory.
//!
//! Algorithm R (Vitter 1985): the first `max` are kept; the `n`-th after that takes the place of a random one with the
//! chance `max / n`. The chance comes from the number alone, so the same queries in the same order leave the same sample.

use half::f16;

const SEED: u64 = 20_261_121;

/// Kept as half floats: half the memory, and a graph learns the same from them.
#[derive(Debug, PartialEq)]
pub(super) struct Reservoir {
    dim: usize,
    max: usize,
    received: u64,
    /// `[kept, dim]`.
    values: Vec<f16>,
}

impl Reservoir {
    pub(super) fn new(dim: usize, max: u32) -> Self {
        Self { dim, max: max as usize, received: 0, values: Vec::new() }
    }

    /// What an earlier process kept; `values`: `[kept, dim]`. What is above `max` goes.
    pub(super) fn again(dim: usize, max: u32, received: u64, mut values: Vec<f16>) -> Self {
        values.truncate(max as usize * dim);
        Self { dim, max: max as usize, received, values }
    }

    /// Takes a query into account; whether it is kept.
    pub(super) fn offer(&mut self, vector: &[f32]) -> bool {
        debug_assert_eq!(vector.len(), self.dim);
        let number = self.received;
        self.received += 1;
        let halves = || vector.iter().map(|x| f16::from_f32(*x));
        if self.len() < self.max {
            self.values.extend(halves());
            return true;
        }
        let place = random(number) % (number + 1);
        if place >= self.max as u64 {
            return false;
        }
        let start = place as usize * self.dim;
        self.values[start..start + self.dim].iter_mut().zip(halves()).for_each(|(kept, new)| *kept = new);
        true
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// `[kept, dim]`.
    pub(super) fn values(&self) -> &[f16] {
        &self.values
    }

    /// The kept queries as they are searched with: unit length.
    pub(super) fn vectors(&self) -> Vec<f32> {
        let mut vectors: Vec<f32> = self.values.iter().map(|x| x.to_f32()).collect();
        for vector in vectors.chunks_exact_mut(self.dim) {
            if fromagerie_index::normalize(vector).is_none() {
                // A half float cannot tell what has no element above 6e-8; unit vectors of 4096 have.
                vector[0] = 1.0;
            }
        }
        vectors
    }
}

/// SplitMix64 of the number (Steele, Lea, Flood 2014).
fn random(number: u64) -> u64 {
    let state = (number ^ SEED).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(queries: u64, max: u32) -> Reservoir {
        let mut reservoir = Reservoir::new(2, max);
        for n in 0..queries {
            reservoir.offer(&[n as f32 / 2048.0, 1.0]);
        }
        reservoir
    }

    #[test]
    fn the_same_queries_leave_the_same_sample() {
        assert_eq!(of(2000, 64), of(2000, 64));
        assert_eq!((of(2000, 64).len(), of(2000, 64).received()), (64, 2000));
        assert_eq!((of(10, 64).len(), of(10, 0).len(), of(10, 0).received()), (10, 0, 10));
    }

    #[test]
    fn every_query_has_the_same_chance() {
        let kept = of(2000, 200);
        let mut tenths = [0; 10];
        for pair in kept.values().chunks(2) {
            tenths[(pair[0].to_f32() * 2048.0) as usize / 200] += 1;
        }
        // 20 each; a binomial of 200 and 0.1 has a deviation of 4.2, and the numbers are fixed.
        assert!(tenths.iter().all(|count| (7..=33).contains(count)), "{tenths:?}");
    }

    #[test]
    fn what_is_kept_is_read_back_at_unit_length() {
        let mut reservoir = Reservoir::new(3, 4);
        reservoir.offer(&[0.6, 0.0, 0.8]);
        reservoir.offer(&[1e-9, 0.0, 1e-9]);
        let vectors = reservoir.vectors();
        assert!(
            (vectors[0] - 0.6).abs() < 1e-3
                && vectors.chunks(3).all(|v| (v.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5)
        );
    }
}
