//! A vector made ready to be multiplied with codes, once a search.
//!
//! With `m` the mean and `r = row - m`, a score is `<q, m> + <q, r>`. Of `q` the part along the mean is split off,
//! `q = t m + p`, because `<m, r>` is known exactly; so `<q, r> = t <m, r> + <p, r>`, and only the shorter `p` meets
//! the code. `p` is rounded to bytes, `p = step * (coarse + fine / 254)`: the first level walks a graph, both
//! levels re-score. All that a row needs besides one whole product is a line of arithmetic on its [`Factors`].

use fromagerie_kernels::bits::PLANES;
use fromagerie_kernels::{Kernel, int4, prefetch, signed};

use super::bits;
use super::layout::{CodeKind, Codes, CodesInfo, Factors};
use super::rotation::Rotation;
use super::scalar::{BYTE_MAX, FINE, Grid, HALF_MIDDLE};

/// Rounding of sums of `f32`, for vectors of about unit length.
const ROUNDING: f32 = 4e-6;

/// Which product meets the codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Bytes,
    Halves,
    Bits,
}

impl Way {
    fn of(kind: CodeKind) -> Self {
        match kind {
            CodeKind::Int8 => Self::Bytes,
            CodeKind::Int4 | CodeKind::Int4x8 => Self::Halves,
            CodeKind::Bits => Self::Bits,
        }
    }
}

/// Two levels of bytes.
#[derive(Clone, Debug, Default)]
struct Levels {
    coarse: Vec<i8>,
    fine: Vec<i8>,
}

/// A query, ready for the codes that it was prepared with. Preparing again reuses its memory.
#[derive(Clone, Debug, Default)]
pub struct PreparedQuery {
    way: Way,
    /// `p` in its own order, which is that of bytes.
    plain: Levels,
    /// `p` in the order of half bytes.
    dealt: Levels,
    /// `p`, rotated, in four planes.
    planes: Vec<u8>,
    /// `<q, m>`.
    base: f64,
    /// `t`.
    along_mean: f32,
    /// Length of `p`.
    length: f32,
    /// Sum of `p`: what an offset counts for.
    sum: f32,
    /// What one whole product is worth in steps of a row.
    step: f32,
    /// What is taken off a product because the middle of the codes is not 0; and the same for the finer level.
    middle: [f32; 2],
    /// Length of what the first level, and both, leave out of `p`, times the largest length that codes can have.
    left_out: [f32; 2],
    /// Elements that are multiplied.
    dim: f32,
    /// `p`, rotated where rows are.
    memory: Vec<f32>,
    /// `p`, rotated, in steps.
    steps: Vec<u8>,
    /// A row that is the query.
    vector: Vec<f32>,
}

impl PreparedQuery {
    /// Makes `vector` ready for `codes`. What was prepared before is forgotten.
    ///
    /// `vector`: `[dim]`, finite; about unit length, or the bounds are too narrow by rounding.
    ///
    /// # Panics
    /// When `vector` has another dimension than the codes.
    pub fn prepare(&mut self, codes: &Codes<'_>, vector: &[f32]) {
        let info = codes.info();
        assert_eq!(vector.len(), info.dim, "codes: the query has another dimension than the rows");
        self.split(codes, vector);
        self.way = Way::of(info.kind);
        if self.way == Way::Bits {
            return self.prepare_bits(info);
        }
        self.step = self.memory.iter().fold(0.0f32, |largest, x| largest.max(x.abs())) / BYTE_MAX;
        self.plain.round(&self.memory, self.step, CodeKind::Int8.code_bytes(info.dim));
        self.deal(info);
        self.left_out = self.plain.left_out(&self.memory, self.step).map(|rest| rest * self.largest_code());
    }

    /// What 1-bit codes are multiplied with. A product counts ones, and `2 ones - all` is the sum of signs.
    fn prepare_bits(&mut self, info: CodesInfo) {
        self.memory.resize(Rotation::width(info.dim), 0.0);
        self.dim = self.memory.len() as f32;
        info.rotation().turn(&mut self.memory);
        let rounded = bits::round(&self.memory, &mut self.steps);
        self.planes.resize(PLANES * info.kind.code_bytes(info.dim), 0);
        fromagerie_kernels::bits::prepare(&self.steps, &mut self.planes);
        self.step = 2.0 * rounded.step;
        self.middle = [rounded.sum as f32 / 2.0, 0.0];
        self.sum = bits::tilt(rounded.step);
        self.left_out = [rounded.left_out * self.dim.sqrt(); 2];
    }

    /// Makes a row ready for the codes that it is among, so that rows can be compared with each other: what is
    /// known of it ([`Codes::decode`]) is the query. In `Int8` that is its very code.
    ///
    /// # Panics
    /// On a row that is not there.
    pub fn prepare_row(&mut self, codes: &Codes<'_>, row: u32) {
        let info = codes.info();
        if info.kind != CodeKind::Int8 {
            let mut vector = std::mem::take(&mut self.vector);
            vector.resize(info.dim, 0.0);
            codes.decode(row, &mut vector);
            self.prepare(codes, &vector);
            self.vector = vector;
            return;
        }
        let factors = codes.factors(row);
        let code = signed(codes.code(row));
        self.plain.coarse.clear();
        self.plain.coarse.extend(code.iter().map(|x| (*x).max(-i8::MAX)));
        self.plain.fine.clear();
        self.plain.fine.resize(code.len(), 0);
        self.base = codes.mean_squared() + f64::from(factors.mean_dot);
        self.along_mean = 1.0;
        self.sum = 0.0;
        self.step = factors.scale;
        self.dim = info.dim as f32;
        let squares: f64 = self.plain.coarse.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        self.length = factors.scale * squares.sqrt() as f32;
        self.deal(info);
        self.left_out = [factors.error * self.largest_code(); 2];
    }

    /// Lays the levels out for the kind of codes, and sums them.
    fn deal(&mut self, info: CodesInfo) {
        self.way = Way::of(info.kind);
        self.middle = [0.0; 2];
        if self.way == Way::Halves {
            let len = 2 * info.kind.code_bytes(info.dim);
            for (to, from) in [(&mut self.dealt.coarse, &self.plain.coarse), (&mut self.dealt.fine, &self.plain.fine)] {
                to.resize(len, 0);
                int4::prepare(&from[..info.dim], to);
            }
            self.middle = self.plain.sums().map(|sum| HALF_MIDDLE * sum);
        }
    }

    /// Length, in steps, of the longest code.
    fn largest_code(&self) -> f32 {
        if self.way == Way::Halves { HALF_MIDDLE * self.dim.sqrt() } else { BYTE_MAX * self.dim.sqrt() }
    }

    /// `p` into `memory`, and what is known about it.
    fn split(&mut self, codes: &Codes<'_>, vector: &[f32]) {
        let exact = |(q, m): (&f32, f32)| f64::from(*q) * f64::from(m);
        self.base = vector.iter().zip(codes.mean()).map(exact).sum();
        let mean_squared = codes.mean_squared();
        let along = if mean_squared > 1e-12 { self.base / mean_squared } else { 0.0 };
        self.along_mean = along as f32;
        self.memory.clear();
        self.memory.extend(vector.iter().zip(codes.mean()).map(|(q, m)| q - self.along_mean * m));
        self.sum = self.memory.iter().map(|p| f64::from(*p)).sum::<f64>() as f32;
        self.length = fromagerie_kernels::norm(&self.memory) as f32;
        self.dim = vector.len() as f32;
    }

    /// Estimate of the inner product with a row, from its factors and code ([`Codes::row`]). Never NaN.
    ///
    /// # Panics
    /// When `row` is not as long as the rows of the codes that this was prepared for.
    #[must_use]
    #[inline]
    pub fn score(&self, row: &[u8]) -> f32 {
        let (factors, code) = cut(row);
        let kernel = Kernel::best();
        let product = match self.way {
            Way::Bytes => kernel.int8.dot(&self.plain.coarse, signed(code)),
            Way::Halves => kernel.int4.dot(&self.dealt.coarse, code),
            Way::Bits => kernel.bits.dot(&self.planes, code),
        };
        self.estimate(factors, product)
    }

    /// [`Self::score`] of four rows that may lie anywhere, for less than four times its time.
    ///
    /// # Panics
    /// When a row is not as long as the rows of the codes that this was prepared for.
    #[must_use]
    #[inline]
    pub fn score4(&self, rows: [&[u8]; 4]) -> [f32; 4] {
        let parts = rows.map(cut);
        let codes = parts.map(|(_, code)| code);
        let kernel = Kernel::best();
        let products = match self.way {
            Way::Bytes => kernel.int8.dot4(&self.plain.coarse, codes.map(signed)),
            Way::Halves => kernel.int4.dot4(&self.dealt.coarse, codes),
            Way::Bits => kernel.bits.dot4(&self.planes, codes),
        };
        let mut scores = [0.0; 4];
        for ((score, (factors, _)), product) in scores.iter_mut().zip(parts).zip(products) {
            *score = self.estimate(factors, product);
        }
        scores
    }

    /// Scores of the rows of `ids`, wherever they lie, handed to `each` in the order of `ids`; all rows are asked
    /// of memory before the first is read.
    ///
    /// # Panics
    /// When a row is not as long as the rows of the codes that this was prepared for.
    #[inline]
    pub fn score_scattered<'a, T: Copy>(&self, ids: &[T], row: impl Fn(T) -> &'a [u8], mut each: impl FnMut(T, f32)) {
        for &id in ids {
            prefetch(row(id));
        }
        let (quads, tail) = ids.as_chunks::<4>();
        for quad in quads {
            for (id, score) in quad.iter().zip(self.score4(quad.map(&row))) {
                each(*id, score);
            }
        }
        for &id in tail {
            each(id, self.score(row(id)));
        }
    }

    /// A closer estimate, from both levels of the query and of the row: `residual` as [`Codes::residual`] gives it,
    /// empty where there is none. Costs two products, or four; for 1-bit codes it is [`Self::score`]. Never NaN.
    ///
    /// # Panics
    /// When `row` or `residual` is not as long as those of the codes that this was prepared for.
    #[must_use]
    pub fn rescore(&self, row: &[u8], residual: &[u8]) -> f32 {
        let (factors, code) = cut(row);
        let exact = |coarse: i32, fine: i32, [of_coarse, of_fine]: [f32; 2]| {
            f64::from(coarse) - f64::from(of_coarse) + (f64::from(fine) - f64::from(of_fine)) / f64::from(FINE)
        };
        let kernel = Kernel::best();
        let [coarse, fine] = match self.way {
            Way::Bytes => [&self.plain.coarse, &self.plain.fine].map(|level| kernel.int8.dot(level, signed(code))),
            Way::Halves => [&self.dealt.coarse, &self.dealt.fine].map(|level| kernel.int4.dot(level, code)),
            Way::Bits => return self.score(row),
        };
        let mut steps = exact(coarse, fine, self.middle);
        if !residual.is_empty() {
            let [coarse, fine] =
                [&self.plain.coarse, &self.plain.fine].map(|level| kernel.int8.dot(level, signed(residual)));
            steps += exact(coarse, fine, [0.0; 2]) / f64::from(FINE);
        }
        let code = f64::from(factors.scale) * f64::from(self.step) * steps;
        let known = self.base + f64::from(self.along_mean) * f64::from(factors.mean_dot);
        ((known + code + f64::from(factors.offset) * f64::from(self.sum)) as f32).max(f32::NEG_INFINITY)
    }

    /// How far [`Self::score`] can be from the inner product with the row that was encoded, whatever the row and
    /// the query are. Far wider than what happens: see [`Self::spread`].
    ///
    /// # Panics
    /// When `row` has no factors.
    #[must_use]
    pub fn bound(&self, row: &[u8]) -> f32 {
        let (factors, _) = cut(row);
        self.length * factors.error + self.left_out[0] * factors.scale + self.rounding()
    }

    /// The same for [`Self::rescore`], given the same `residual`.
    ///
    /// # Panics
    /// When `row` has no factors.
    #[must_use]
    pub fn rescore_bound(&self, row: &[u8], residual: &[u8]) -> f32 {
        let (factors, _) = cut(row);
        let (error, more) = if residual.is_empty() {
            (factors.error, 1.0)
        } else if factors.error.is_finite() {
            (0.501 / FINE * factors.scale * self.dim.sqrt(), 1.1)
        } else {
            (f32::INFINITY, 1.0)
        };
        self.length * error + more * self.left_out[1] * factors.scale + self.rounding()
    }

    /// What [`Self::bound`] would be if rounding had no direction: one standard deviation of [`Self::score`].
    /// A search that re-scores may stop at a row whose score with three spreads added is not good enough.
    ///
    /// # Panics
    /// When `row` has no factors.
    #[must_use]
    pub fn spread(&self, row: &[u8]) -> f32 {
        let (factors, _) = cut(row);
        (self.length * factors.error).hypot(self.left_out[0] * factors.scale) / self.dim.sqrt()
    }

    #[inline]
    fn estimate(&self, factors: Factors, product: i32) -> f32 {
        let code = factors.scale * (self.step * (product as f32 - self.middle[0]));
        let known = self.base as f32 + self.along_mean * factors.mean_dot;
        (known + code + factors.offset * self.sum).max(f32::NEG_INFINITY)
    }

    fn rounding(&self) -> f32 {
        ROUNDING * (1.0 + self.length + self.base.abs() as f32)
    }
}

impl Levels {
    /// Rounds `p` to two levels of `len` bytes each.
    fn round(&mut self, p: &[f32], step: f32, len: usize) {
        let grid = Grid { scale: step, offset: 0.0 };
        let finer = Grid { scale: step / FINE, offset: 0.0 };
        self.coarse.clear();
        self.coarse.extend(p.iter().map(|x| grid.byte_of(*x)));
        self.fine.clear();
        self.fine.extend(p.iter().zip(&self.coarse).map(|(x, code)| finer.byte_of(x - step * f32::from(*code))));
        self.coarse.resize(len, 0);
        self.fine.resize(len, 0);
    }

    fn sums(&self) -> [f32; 2] {
        [&self.coarse, &self.fine].map(|level| level.iter().map(|x| i32::from(*x)).sum::<i32>() as f32)
    }

    /// Lengths of what the first level, and both, leave out of `p`.
    fn left_out(&self, p: &[f32], step: f32) -> [f32; 2] {
        let mut squares = [0.0f64; 2];
        for ((p, coarse), fine) in p.iter().zip(&self.coarse).zip(&self.fine) {
            let rest = p - step * f32::from(*coarse);
            let less = rest - step / FINE * f32::from(*fine);
            squares[0] += f64::from(rest) * f64::from(rest);
            squares[1] += f64::from(less) * f64::from(less);
        }
        squares.map(|square| square.sqrt() as f32)
    }
}

#[inline]
fn cut(row: &[u8]) -> (Factors, &[u8]) {
    let (factors, code) = row.split_first_chunk().expect("codes: a row is shorter than its factors");
    (Factors::read(factors), code)
}
