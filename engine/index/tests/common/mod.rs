//! Rows and queries that look like images asked for in words, from a fixed seed.
//!
//! Clusters of uneven size with a few strong directions each, around one mean. Queries of the first kind are drawn
//! as the rows are; those of the second kind have a mean of their own, a damped and turned latent, and more noise,
//! as text has among images.

#![allow(dead_code)]

use fromagerie_index::{DenseRows, Neighbor, Query, Rows, flat};
use fromagerie_kernels::normalize;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A generated set.
pub(crate) struct Set {
    pub(crate) dim: usize,
    pub(crate) data: Vec<f32>,
    /// Drawn like the rows.
    pub(crate) like_rows: Vec<Vec<f32>>,
    /// Drawn like text.
    pub(crate) like_text: Vec<Vec<f32>>,
}

impl Set {
    pub(crate) fn rows(&self) -> DenseRows<'_> {
        DenseRows::new(&self.data, self.dim).expect("whole rows")
    }
}

struct World {
    rng: StdRng,
    dim: usize,
    spectrum: Vec<f32>,
    centres: Vec<Vec<f32>>,
    bases: Vec<Vec<Vec<f32>>>,
}

impl World {
    fn gauss(&mut self) -> f32 {
        let (u, v): (f32, f32) = (self.rng.random_range(1e-7..1.0), self.rng.random());
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    }

    fn noise(&mut self, size: f32) -> Vec<f32> {
        (0..self.dim).map(|i| size * self.spectrum[i] * self.gauss()).collect()
    }

    fn latent(&mut self, skew: i32) -> Vec<f32> {
        // Squaring a uniform number makes the first clusters large.
        let cluster = (self.rng.random::<f32>().powi(skew) * self.centres.len() as f32) as usize;
        let mut z = self.noise(0.35);
        for direction in 0..self.bases[cluster % 8].len() {
            let weight = 0.5 * self.gauss() / (direction as f32 + 1.0).sqrt();
            let basis = &self.bases[cluster % 8][direction];
            z.iter_mut().zip(basis).for_each(|(z, b)| *z += weight * b);
        }
        z.iter_mut().zip(&self.centres[cluster]).for_each(|(z, c)| *z += c);
        z
    }
}

fn unit(mut v: Vec<f32>) -> Vec<f32> {
    normalize(&mut v).expect("a direction");
    v
}

/// `rows` rows of `dim` elements, and `queries` queries of each kind.
pub(crate) fn set(rows: usize, dim: usize, queries: usize) -> Set {
    let scale: f32 = (0..dim).map(|i| 1.0 / (i as f32 + 8.0)).sum::<f32>();
    let spectrum = (0..dim).map(|i| (1.0 / (i as f32 + 8.0) / scale).sqrt()).collect();
    let rng = StdRng::seed_from_u64(20_261_121);
    let mut world = World { rng, dim, spectrum, centres: vec![], bases: vec![] };
    world.centres = (0..(rows / 100).max(4)).map(|_| world.noise(0.7)).collect();
    world.bases = (0..8).map(|_| (0..12).map(|_| unit(world.noise(1.0))).collect()).collect();
    let (image_mean, text_mean) = (unit(world.noise(1.0)), unit(world.noise(1.0)));
    let add = |z: Vec<f32>, mean: &[f32]| unit(z.iter().zip(mean).map(|(z, m)| z + 0.75 * m).collect());

    let data = (0..rows).flat_map(|_| add(world.latent(2), &image_mean)).collect();
    let like_rows = (0..queries).map(|_| add(world.latent(2), &image_mean)).collect();
    let like_text = (0..queries).map(|_| {
        let (z, noise) = (world.latent(1), world.noise(0.3));
        let turned = (0..dim).map(|i| 0.94 * z[i] + 0.34 * z[i ^ 1] * if i % 2 == 0 { 1.0 } else { -1.0 } + noise[i]);
        add(turned.collect(), &text_mean)
    });
    let like_text = like_text.collect();
    Set { dim, data, like_rows, like_text }
}

/// The rows of an exact search.
pub(crate) fn truth(rows: &impl Rows, query: &Query<'_>) -> Vec<Neighbor> {
    flat::search(rows, query).expect("an answer")
}

/// How much of `truth` is in `found`.
pub(crate) fn recall(found: &[Neighbor], truth: &[Neighbor]) -> f64 {
    let hits = truth.iter().filter(|t| found.iter().any(|f| f.row == t.row)).count();
    hits as f64 / truth.len() as f64
}
