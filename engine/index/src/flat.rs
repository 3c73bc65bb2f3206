//! Exact search: every row is looked at. The oracle of every graph, and the faster way for few rows.
//!
//! Rows are scored in blocks, and cancellation is asked once a block. Under a filter only the allowed rows of a
//! block are scored.

use crate::top::Top;
use crate::{Neighbor, Query, Scored, SearchError};

/// Rows in a block: 256 KiB at 256 dimensions, so a block passes in some ten microseconds.
const BLOCK: usize = 256;
/// Allowed rows asked of memory together: few enough to stay in the first cache.
const AT_ONCE: usize = 16;

/// Nearest rows to `query.vector`, exactly, best first, ties by row.
///
/// # Errors
/// [`SearchError::WrongDim`], [`SearchError::NotFinite`], [`SearchError::Cancelled`].
pub fn search<R: Scored + ?Sized>(rows: &R, query: &Query<'_>) -> Result<Vec<Neighbor>, SearchError> {
    query.check(rows)?;
    let (mut top, mut found) = (Top::default(), Vec::new());
    scan(rows, query, &mut top, &mut found)?;
    Ok(found)
}

/// [`search`] over the rows in `listed` alone, which are ascending: for a filter that lets few through.
///
/// # Errors
/// As [`search`].
///
/// # Panics
/// May panic on a row that is not there, as rows may.
pub fn search_listed<R: Scored + ?Sized>(
    rows: &R,
    query: &Query<'_>,
    listed: &[u32],
) -> Result<Vec<Neighbor>, SearchError> {
    query.check(rows)?;
    let (mut top, mut found) = (Top::default(), Vec::new());
    if query.k == 0 {
        return Ok(found);
    }
    top.start(query.k.min(listed.len()));
    for block in listed.chunks(BLOCK) {
        query.check_cancelled()?;
        let allowed = block.iter().copied().filter(|row| query.allows(*row));
        score_some(rows, query.vector, allowed, offer(query, &mut top));
    }
    top.drain_into(&mut found);
    Ok(found)
}

/// Puts what is good enough into `top`.
fn offer<'t>(query: &'t Query<'_>, top: &'t mut Top) -> impl FnMut(u32, f32) + use<'t> {
    let least = query.min_score;
    move |row, score| {
        let neighbor = Neighbor { row, score };
        if !score.is_nan() && least.is_none_or(|least| score >= least) && top.wants(&neighbor) {
            top.push(neighbor);
        }
    }
}

/// [`search`] with the caller's memory; the query has been checked.
pub(crate) fn scan<R: Scored + ?Sized>(
    rows: &R,
    query: &Query<'_>,
    top: &mut Top,
    found: &mut Vec<Neighbor>,
) -> Result<(), SearchError> {
    top.start(query.k.min(rows.len()));
    found.clear();
    if query.k == 0 {
        return Ok(());
    }
    let end = rows.len() as u32;
    let mut start = 0;
    while start < end {
        query.check_cancelled()?;
        let stop = end.min(start.saturating_add(BLOCK as u32));
        let offer = offer(query, top);
        match query.allow {
            None => score_block(rows, query.vector, start, stop, offer),
            Some(allow) => score_some(rows, query.vector, (start..stop).filter(|row| allow(*row)), offer),
        }
        start = stop;
    }
    top.drain_into(found);
    Ok(())
}

fn score_block<R: Scored + ?Sized>(rows: &R, vector: &[f32], start: u32, stop: u32, mut offer: impl FnMut(u32, f32)) {
    let mut scores = [0.0; BLOCK];
    let scores = &mut scores[..(stop - start) as usize];
    rows.score_block(vector, start..stop, scores);
    for (row, score) in (start..).zip(scores) {
        offer(row, *score);
    }
}

/// Scores at most [`BLOCK`] rows.
fn score_some<R: Scored + ?Sized>(
    rows: &R,
    vector: &[f32],
    some: impl Iterator<Item = u32>,
    mut offer: impl FnMut(u32, f32),
) {
    let mut allowed = [0; BLOCK];
    let mut count = 0;
    for (place, row) in allowed.iter_mut().zip(some) {
        *place = row;
        count += 1;
    }
    for some in allowed[..count].chunks(AT_ONCE) {
        rows.score_scattered(vector, some, &mut offer);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::DenseRows;

    /// Rows on the unit circle, one each degree: row 0 points along x.
    fn circle(n: usize) -> Vec<f32> {
        (0..n).flat_map(|i| [(i as f32).to_radians().cos(), (i as f32).to_radians().sin()]).collect()
    }

    fn found(n: usize, query: &Query<'_>) -> Vec<u32> {
        let data = circle(n);
        let rows = DenseRows::new(&data, 2).expect("whole rows");
        search(&rows, query).expect("an answer").iter().map(|hit| hit.row).collect()
    }

    #[test]
    fn edges_of_k_and_rows() {
        let along = Query::new(&[1.0, 0.0], 3);
        assert_eq!(found(0, &along), [0u32; 0]);
        assert_eq!(found(1, &along), [0]);
        assert_eq!(found(90, &along), [0, 1, 2]);
        assert_eq!(found(4, &Query { k: usize::MAX, ..along }), [0, 1, 2, 3]);
        assert_eq!(found(4, &Query { k: 0, ..along }), [0u32; 0]);
    }

    #[test]
    fn filter_and_least_score() {
        let along = Query::new(&[1.0, 0.0], 3);
        assert_eq!(found(300, &Query { allow: Some(&|row| row > 100 && row % 7 == 0), ..along }), [294, 287, 280]);
        assert_eq!(found(300, &Query { allow: Some(&|_| false), ..along }), [0u32; 0]);
        let near = (1.5f32).to_radians().cos();
        assert_eq!(found(300, &Query { min_score: Some(near), ..along }), [0, 1]);
    }

    #[test]
    fn a_list_of_rows_is_a_filter() {
        let data = circle(360);
        let rows = DenseRows::new(&data, 2).expect("whole rows");
        let listed: Vec<u32> = (0..360).filter(|row| row % 3 == 0).collect();
        let vector = [0.0, 1.0];
        for (k, least) in [(0, None), (5, None), (400, None), (50, Some(0.9))] {
            let query = Query { min_score: least, allow: Some(&|row| row % 2 == 0), ..Query::new(&vector, k) };
            let both = Query { allow: Some(&|row| row % 6 == 0), ..query };
            assert_eq!(search_listed(&rows, &query, &listed), search(&rows, &both));
        }
        assert_eq!(search_listed(&rows, &Query::new(&vector, 3), &[]), Ok(Vec::new()));
        let cancelled = Query { cancelled: Some(&|| true), ..Query::new(&vector, 3) };
        assert_eq!(search_listed(&rows, &cancelled, &listed), Err(SearchError::Cancelled));
    }

    #[test]
    fn equal_rows_come_in_order() {
        let data = [0.6, 0.8].repeat(1000);
        let rows = DenseRows::new(&data, 2).expect("whole rows");
        let hits = search(&rows, &Query::new(&[0.0, 1.0], 4)).expect("an answer");
        assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn refusals() {
        let data = circle(5);
        let rows = DenseRows::new(&data, 2).expect("whole rows");
        let wrong = SearchError::WrongDim { expected: 2, received: 3 };
        assert_eq!(search(&rows, &Query::new(&[0.0; 3], 1)), Err(wrong));
        assert_eq!(search(&rows, &Query::new(&[0.0, f32::NAN], 1)), Err(SearchError::NotFinite { at: 1 }));
    }

    #[test]
    fn cancelling_is_noticed_within_a_block() {
        let data = circle(10 * BLOCK);
        let rows = DenseRows::new(&data, 2).expect("whole rows");
        let asked = Cell::new(0);
        let third = || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        };
        let query = Query { cancelled: Some(&third), ..Query::new(&[1.0, 0.0], 1) };
        assert_eq!((search(&rows, &query), asked.get()), (Err(SearchError::Cancelled), 3));
    }
}
