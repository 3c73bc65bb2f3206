//! Queries unlike all rows, made of rows: what a graph without training queries is calibrated on.
//!
//! Text that asks for images has a mean of its own (Liang et al. 2022, "Mind the gap", arXiv:2203.02053), says less than an
//! image shows, and says other things besides. So a row is pushed in three ways at once: from the rows' mean to one that
//! lies elsewhere; by noise, even in all directions or shaped like the rows (the difference of two of them); each as
//! strong as one of a few sizes. Which of them a real query is like does not matter: a search sees how far it is.

use fromagerie_kernels::normalize;

use super::plan::Plan;
use super::random::{normal, random};
use crate::Rows;

/// Kinds of queries: noise of two shapes, weaker and stronger. They take turns.
pub(super) const KINDS: usize = 4;
/// Noise of even direction, in standard deviations of the rows.
const EVEN: [f32; 4] = [0.5, 0.8, 1.1, 1.4];
/// Noise shaped like the rows, in differences of two rows.
const SHAPED: [f32; 4] = [0.2, 0.3, 0.4, 0.5];
/// How far the mean moves, as parts of the way to one that is at a right angle.
const GAPS: [f32; 4] = [0.0, 0.5, 1.0, 1.0];
/// A cone this narrow at least is assumed, even of rows in all directions.
const MEAN_MIN: f32 = 0.5;

/// `count` queries, `[count, dim]`, of unit length.
pub(super) fn away<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, count: usize) -> Vec<f32> {
    let (dim, nodes, mut state) = (plan.rows.dim(), plan.nodes.len() as u64, plan.params.seed);
    let (mean, deviations) = (&plan.grid.mean, plan.grid.deviations());
    // Where the pushed rows' mean is moved to; without a direction it stays at the middle.
    let mut other: Vec<f32> = (0..dim).map(|_| normal(&mut state)).collect();
    let size = mean.iter().map(|x| x * x).sum::<f32>().sqrt().max(MEAN_MIN);
    let _ = normalize(&mut other);
    let mut made = Vec::with_capacity(count * dim);
    for at in 0..count {
        let mut row = || plan.vector((random(&mut state) % nodes) as u32);
        let (base, one, two) = (row(), row(), row());
        let (is_shaped, is_strong) = (at % KINDS % 2 == 1, at % KINDS / 2);
        let (size_at, gap) = (2 * is_strong + at / KINDS % 2, GAPS[at / KINDS / 2 % 4]);
        let from = made.len();
        for i in 0..dim {
            let noise = if is_shaped {
                SHAPED[size_at] * (one[i] - two[i])
            } else {
                EVEN[size_at] * normal(&mut state) * deviations[i]
            };
            made.push(base[i] + noise + gap * (size * other[i] - mean[i]));
        }
        if normalize(&mut made[from..]).is_none() {
            made.truncate(from);
            made.extend_from_slice(base);
        }
    }
    made
}
