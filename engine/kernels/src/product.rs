//! Inner products with rows of one kind of code: one row, four rows, or rows scattered over memory.
//!
//! What differs between the kinds is the type of a query's and a row's elements, and how many elements of a query
//! meet one of a row. The rest, and the checks that make calling a kernel safe, stand here once.
#![allow(unsafe_code)]

use std::fmt;

use crate::prefetch::prefetch;

type One<Q, R, S> = unsafe fn(&[Q], &[R]) -> S;
type Four<Q, R, S> = unsafe fn(&[Q], [&[R]; 4]) -> [S; 4];

/// The kernels of one kind of code: queries of `Q`, rows of `R`, sums of `S`.
pub struct Product<Q, R, S> {
    name: &'static str,
    one: One<Q, R, S>,
    four: Four<Q, R, S>,
    /// Elements of a query that meet one element of a row.
    ratio: usize,
}

impl<Q, R, S> Product<Q, R, S> {
    /// # Safety
    /// This processor must have whatever `one` and `four` need, and both must be sound for every query with `ratio`
    /// times as many elements as each row.
    pub(crate) const unsafe fn new(name: &'static str, ratio: usize, one: One<Q, R, S>, four: Four<Q, R, S>) -> Self {
        Self { name, one, four, ratio }
    }

    /// Inner product of `query` with one row.
    ///
    /// # Panics
    /// When the query is not as long as this kind of row wants it.
    #[must_use]
    #[inline]
    pub fn dot(&self, query: &[Q], row: &[R]) -> S {
        self.check(query, row);
        // SAFETY: the lengths fit; `new` was promised that the processor has what the function needs.
        unsafe { (self.one)(query, row) }
    }

    /// Inner products of `query` with four rows that may lie anywhere. Each is, bit for bit, what [`Self::dot`] gives.
    ///
    /// # Panics
    /// When the query is not as long as this kind of row wants it.
    #[must_use]
    #[inline]
    pub fn dot4(&self, query: &[Q], rows: [&[R]; 4]) -> [S; 4] {
        for row in rows {
            self.check(query, row);
        }
        // SAFETY: the lengths fit; `new` was promised that the processor has what the function needs.
        unsafe { (self.four)(query, rows) }
    }

    /// Inner products of `query` with the rows of `ids`, wherever they lie, handed to `each` in the order of `ids`.
    ///
    /// The rows are asked of memory first and computed afterwards, four at a time: in a graph search it is
    /// waiting for rows, not arithmetic, that costs. Whoever knows earlier which rows will be wanted asks for them
    /// earlier, with [`prefetch`], and hands the product to [`Self::dot_ready`].
    ///
    /// # Panics
    /// When the query is not as long as this kind of row wants it.
    #[inline]
    pub fn dot_scattered<'a, T: Copy>(&self, query: &[Q], ids: &[T], row: impl Fn(T) -> &'a [R], each: impl FnMut(T, S))
    where
        R: 'a,
    {
        for &id in ids {
            prefetch(row(id));
        }
        self.dot_ready(query, ids, row, each);
    }

    /// [`Self::dot_scattered`] without asking memory for the rows first.
    ///
    /// # Panics
    /// When the query is not as long as this kind of row wants it.
    #[inline]
    pub fn dot_ready<'a, T: Copy>(&self, query: &[Q], ids: &[T], row: impl Fn(T) -> &'a [R], mut each: impl FnMut(T, S))
    where
        R: 'a,
    {
        let (quads, tail) = ids.as_chunks::<4>();
        for quad in quads {
            let scores = self.dot4(query, quad.map(&row));
            for (id, score) in quad.iter().zip(scores) {
                each(*id, score);
            }
        }
        for &id in tail {
            each(id, self.dot(query, row(id)));
        }
    }

    /// Inner products of `query` with rows that lie one after another in `rows`, `width` elements each, handed to
    /// `each` with their numbers.
    ///
    /// # Panics
    /// When `width` is 0, or the query is not as long as a row of that width wants it.
    #[inline]
    pub fn dot_block(&self, query: &[Q], rows: &[R], width: usize, mut each: impl FnMut(usize, S)) {
        let mut number = 0;
        let mut fours = rows.chunks_exact(4 * width);
        for four in &mut fours {
            let scores = self.dot4(query, std::array::from_fn(|at| &four[at * width..][..width]));
            for score in scores {
                each(number, score);
                number += 1;
            }
        }
        for row in fours.remainder().chunks_exact(width) {
            each(number, self.dot(query, row));
            number += 1;
        }
    }

    #[inline]
    fn check(&self, query: &[Q], row: &[R]) {
        assert!(
            row.len().checked_mul(self.ratio) == Some(query.len()),
            "{}: the vectors have different lengths: a row of {} elements wants a query of {}, not {}",
            self.name,
            row.len(),
            row.len().wrapping_mul(self.ratio),
            query.len()
        );
    }
}

impl<Q, R, S> Clone for Product<Q, R, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, R, S> Copy for Product<Q, R, S> {}

impl<Q, R, S> fmt::Debug for Product<Q, R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
