//! The codes that a walk reads: every element on a grid of sixteen values, and what that leaves out on a finer one.
//!
//! A walk waits for memory, so what it reads of a row decides how fast it is: half a byte an element, two cache lines
//! at 256 dimensions and nothing beside them. That is why the grid belongs to the whole segment and not, as in LVQ
//! (Aguerrebere et al. 2023, arXiv:2304.04759), to the row: each dimension has a step of its own, learned from the
//! rows, and the query is multiplied by the steps, so a row needs no factors and scores are plain integers.
//!
//! An element is `mean + step * (code - 7.5 + width * rest / 127)`, `code` in 0..=15 and `rest` an `i8`. The first
//! level walks; both together re-score, some thirty times more closely.

use std::borrow::Cow;

use fromagerie_kernels::{Kernel, int4, signed};

use super::signs::Signed;
use crate::Rows;

/// Standard deviations that the sixteen values reach to either side.
const REACH: f32 = 3.3;
/// The middle of the codes.
const MIDDLE: f32 = 7.5;
/// Largest `i8` in use.
const BYTE_MAX: f32 = 127.0;
/// Parts of a query's step that its finer level counts.
const FINE: f32 = 254.0;
/// Rows that the grid is learned from, at most.
const SAMPLE_MAX: usize = 1 << 16;
/// Elements that the finer level's width is chosen on, at most.
const ELEMENTS_MAX: usize = 1 << 18;
/// Widths of the finer level to choose from, in steps.
const WIDTHS: [f32; 8] = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0];

/// Bytes of a row's code, a whole number of cache lines.
pub(crate) const fn code_bytes(dim: usize) -> usize {
    int4::bytes(dim).next_multiple_of(64)
}

/// Bytes of what a row's code leaves out.
pub(crate) const fn rest_bytes(dim: usize) -> usize {
    dim.next_multiple_of(64)
}

/// Where the sixteen values lie in each dimension.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid<'a> {
    /// `[dim]`
    pub(crate) mean: Cow<'a, [f32]>,
    /// `[dim]`, positive.
    pub(crate) step: Cow<'a, [f32]>,
    /// Steps that the finer level reaches to either side of a code.
    pub(crate) width: f32,
}

impl Grid<'_> {
    /// Learns the grid from up to 65,536 of `nodes`, which are rows, evenly spread.
    pub(crate) fn learn<R: Rows + ?Sized>(rows: &R, nodes: &[u32]) -> Grid<'static> {
        let dim = rows.dim();
        let spread = nodes.len().div_ceil(SAMPLE_MAX).max(1);
        let sample = || nodes.iter().step_by(spread).map(|row| rows.row(*row));
        let count = sample().count().max(1) as f64;
        let (mut mean, mut squares) = (vec![0.0f64; dim], vec![0.0f64; dim]);
        for row in sample() {
            for ((mean, squares), x) in mean.iter_mut().zip(&mut squares).zip(row) {
                *mean += f64::from(*x) / count;
                *squares += f64::from(*x) * f64::from(*x) / count;
            }
        }
        let deviation = |(mean, squares): (&f64, &f64)| (squares - mean * mean).max(0.0).sqrt();
        let step = mean.iter().zip(&squares).map(deviation).map(|d| (REACH * d as f32 / MIDDLE).max(1e-9)).collect();
        let mut grid = Grid { mean: mean.into_iter().map(|mean| mean as f32).collect(), step, width: 0.5 };
        let every = (sample().count() * dim).div_ceil(ELEMENTS_MAX).max(1);
        let rests: Vec<f32> = sample().step_by(every).flat_map(|row| grid.steps(row).map(|x| x - code_of(x))).collect();
        // Between sums of distances, which would cut off what is rare, and of squares, which would see little else.
        let missed = |width: &f32| {
            let missed = |rest: &f32| (rest - fine(*rest, *width) * width / BYTE_MAX).abs().powf(1.5);
            rests.iter().map(missed).sum::<f32>()
        };
        let best = WIDTHS.into_iter().min_by(|a, b| missed(a).total_cmp(&missed(b)));
        grid.width = best.unwrap_or(grid.width);
        grid
    }

    /// The standard deviation of each dimension.
    pub(crate) fn deviations(&self) -> Vec<f32> {
        self.step.iter().map(|step| step * MIDDLE / REACH).collect()
    }

    /// A row in steps, 0 at the lowest code.
    fn steps<'g>(&'g self, row: &'g [f32]) -> impl Iterator<Item = f32> + 'g {
        row.iter().zip(self.mean.iter()).zip(self.step.iter()).map(|((x, mean), step)| (x - mean) / step + MIDDLE)
    }

    /// Writes a row's code (`[code_bytes]`) and what it leaves out (`[rest_bytes]`, or nothing).
    pub(crate) fn encode(&self, row: &[f32], code: &mut [u8], rest: &mut [u8]) {
        code.fill(0);
        rest.fill(0);
        for (at, steps) in self.steps(row).enumerate() {
            let nearest = code_of(steps);
            code[at / 2] |= (nearest as u8) << (4 * (at % 2));
            if let Some(rest) = rest.get_mut(at) {
                *rest = fine(steps - nearest, self.width) as i8 as u8;
            }
        }
    }
}

fn code_of(steps: f32) -> f32 {
    round(steps).clamp(0.0, 15.0)
}

/// What a code leaves out, on the finer level: what it does not reach is cut off.
fn fine(rest: f32, width: f32) -> f32 {
    round(rest * BYTE_MAX / width).clamp(-BYTE_MAX, BYTE_MAX)
}

/// A number that, added, leaves no room for a fraction.
const WHOLE: f32 = 12_582_912.0;

/// To the nearest whole number, for what lies within four millions of 0; others stay large. Adding and taking off a
/// number without a fraction rounds in two instructions, where `round` is a call.
fn round(x: f32) -> f32 {
    if x.abs() < 4_194_304.0 { (x + WHOLE) - WHOLE } else { x }
}

/// The nearest whole number of what rounds to a byte: it is what stands below after adding.
fn byte(x: f32) -> i8 {
    (x + WHOLE).to_bits() as i8
}

/// The largest size of an element; in lanes, since one maximum after the other would wait for each.
fn largest(elements: &[f32]) -> f32 {
    let (lanes, rest) = elements.as_chunks::<16>();
    let larger = |a: f32, b: f32| if b.abs() > a { b.abs() } else { a };
    let mut most = [0.0; 16];
    for lane in lanes {
        most.iter_mut().zip(lane).for_each(|(most, x)| *most = larger(*most, *x));
    }
    most.iter().chain(rest).fold(0.0, |most, x| larger(most, *x))
}

/// A vector made ready to be multiplied with codes, once a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    /// In the order of codes.
    coarse: Vec<i8>,
    fine: Vec<i8>,
    /// In the order of elements.
    plain_coarse: Vec<i8>,
    plain_fine: Vec<i8>,
    scaled: Vec<f32>,
    /// The same for signs, after [`Self::sign`].
    signed: Signed,
    /// What one of a product counts.
    step: f32,
    base: f32,
    width: f32,
    /// What the rows' mean says to it.
    mean: f32,
}

impl Prepared {
    /// Makes `vector` ready for the first level.
    pub(crate) fn prepare(&mut self, grid: &Grid<'_>, vector: &[f32]) {
        let dim = vector.len();
        self.scaled.clear();
        self.scaled.extend(vector.iter().zip(grid.step.iter()).map(|(x, step)| x * step));
        self.step = (largest(&self.scaled) / BYTE_MAX).max(f32::MIN_POSITIVE);
        let by = 1.0 / self.step;
        self.plain_coarse.clear();
        self.plain_coarse.extend(self.scaled.iter().map(|x| byte(x * by)));
        self.plain_coarse.resize(rest_bytes(dim), 0);
        self.coarse.resize(2 * code_bytes(dim), 0);
        int4::prepare(&self.plain_coarse[..dim], &mut self.coarse);
        let kernel = Kernel::best();
        self.mean = kernel.dot(vector, &grid.mean);
        self.base = self.mean - MIDDLE * kernel.dot(vector, &grid.step);
        self.width = grid.width;
    }

    /// Makes the vector of the last [`Self::prepare`] ready for the second level too.
    pub(crate) fn refine(&mut self) {
        let (by, dim) = (1.0 / self.step, self.scaled.len());
        self.plain_fine.clear();
        let fine =
            |(x, coarse): (&f32, &i8)| round((x * by - f32::from(*coarse)) * FINE).clamp(-BYTE_MAX, BYTE_MAX) as i8;
        self.plain_fine.extend(self.scaled.iter().zip(&self.plain_coarse).map(fine));
        self.plain_fine.resize(rest_bytes(dim), 0);
        self.fine.resize(2 * code_bytes(dim), 0);
        int4::prepare(&self.plain_fine[..dim], &mut self.fine);
    }

    /// Makes the vector of the last [`Self::prepare`] ready for signs too.
    pub(crate) fn sign(&mut self) {
        self.signed.prepare(&self.scaled);
    }

    /// The query's side of signs, after [`Self::sign`].
    #[inline]
    pub(crate) fn tables(&self) -> &[u8] {
        self.signed.tables()
    }

    /// The least agreement of signs that stands for a score.
    pub(crate) fn least(&self, score: f32, spread: f32) -> u16 {
        self.signed.least(score - self.mean, spread)
    }

    /// The score that the signs of a code stand for.
    pub(crate) fn estimate(&self, code: &[u8], spread: f32) -> f32 {
        self.mean + self.signed.estimate(code, spread)
    }

    /// The query's side of a product with a code.
    #[inline]
    pub(crate) fn coarse(&self) -> &[i8] {
        &self.coarse
    }

    /// The score that a product with a code stands for.
    #[inline]
    pub(crate) fn score(&self, product: i32) -> f32 {
        self.base + self.step * product as f32
    }

    /// How large a difference of products a difference of scores is.
    #[inline]
    pub(crate) fn products(&self, difference: f32) -> i32 {
        (difference / self.step) as i32
    }

    /// The score by both levels, after [`Self::refine`].
    pub(crate) fn rescore(&self, product: i32, code: &[u8], rest: &[u8]) -> f32 {
        let kernel = Kernel::best();
        let code = product as f32 + kernel.int4.dot(&self.fine, code) as f32 / FINE;
        let rest = signed(rest);
        let (coarse, fine) = (kernel.int8.dot(&self.plain_coarse, rest), kernel.int8.dot(&self.plain_fine, rest));
        let rest = (coarse as f32 + fine as f32 / FINE) * self.width / BYTE_MAX;
        self.base + self.step * (code + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DenseRows;

    #[test]
    fn both_levels_come_near_to_the_product() {
        for dim in [1, 3, 64, 100, 384] {
            let data: Vec<f32> =
                (0..200 * dim).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) / dim as f32).collect();
            let rows = DenseRows::new(&data, dim).expect("whole rows");
            let grid = Grid::learn(&rows, &(0..200).collect::<Vec<_>>());
            let (mut code, mut rest) = (vec![0; code_bytes(dim)], vec![0; rest_bytes(dim)]);
            let mut query = Prepared::default();
            let (mut coarse, mut fine) = (0.0f64, 0.0f64);
            for at in 0..199 {
                let (vector, row) = (rows.row(at), rows.row(at + 1));
                grid.encode(row, &mut code, &mut rest);
                query.prepare(&grid, vector);
                query.refine();
                let truth = f64::from(fromagerie_kernels::dot(vector, row));
                let product = Kernel::best().int4.dot(query.coarse(), &code);
                coarse = coarse.max((f64::from(query.score(product)) - truth).abs());
                fine = fine.max((f64::from(query.rescore(product, &code, &rest)) - truth).abs());
            }
            let size = 1.0 / dim as f64;
            assert!(coarse < 0.3 * size && fine < 0.01 * size && fine * 5.0 < coarse, "{dim}: {coarse} {fine}");
        }
    }
}
