//! Hits that are kept apart from each other: more of the nearest items are found than are asked for, and hits are chosen from
//! these one by one.

use std::borrow::Cow;

use fromagerie_index::{DenseRows, Scored};
use fromagerie_storage::Snapshot;

use super::{Ask, Found, SearchStats, allowed, nearest};
use crate::error::{Error, Result};
use crate::query::Spread;

/// Items that are found for each hit, and at least in all, before any is left out.
const CANDIDATES_PER_HIT: usize = 10;
const CANDIDATES_MIN: usize = 100;
/// Most of them: their vectors are on the heap while hits are chosen.
const CANDIDATES_MAX: usize = 4096;
/// How many times as many are found next, where too many were near duplicates.
const GROWTH: usize = 4;

impl Spread {
    /// Whether hits are simply the nearest.
    pub(crate) fn is_none(&self) -> bool {
        self.near_duplicates.is_none() && self.diversity == 0.0
    }

    /// # Errors
    /// [`Error::OutOfRange`].
    pub(crate) fn check(&self) -> Result<()> {
        let out = |name, value: f32, allowed| Err(Error::OutOfRange { name, value: value.to_string(), allowed });
        match *self {
            Spread { near_duplicates: Some(least), .. } if !(least > 0.0 && least <= 1.0) => {
                out("near_duplicates", least, "above 0 and at most 1")
            }
            Spread { diversity, .. } if !(0.0..=1.0).contains(&diversity) => out("diversity", diversity, "0 to 1"),
            _ => Ok(()),
        }
    }
}

/// The hits of a query that keeps them apart, in the order in which they were chosen. Fewer than the limit only where no
/// others are there, or all of the nearest 4,096 that are left are near duplicates of hits.
///
/// # Errors
/// As [`nearest`].
pub(crate) fn spread(snapshot: &Snapshot, ask: &Ask<'_>) -> Result<(Vec<Found>, SearchStats)> {
    let mut candidates = (CANDIDATES_PER_HIT * ask.limit).clamp(CANDIDATES_MIN, CANDIDATES_MAX);
    loop {
        let (found, stats) = nearest(snapshot, &Ask { limit: candidates, ..*ask })?;
        let is_all = found.len() < candidates || candidates == CANDIDATES_MAX;
        let chosen = choose(snapshot, ask, found)?;
        if is_all || chosen.len() == ask.limit {
            return Ok((chosen, stats));
        }
        candidates = (candidates * GROWTH).min(CANDIDATES_MAX);
    }
}

/// One hit after the other: of the candidates that are no near duplicates of what there is, the one with the best of
/// `(1 - diversity) · score - diversity · likeness`, likeness being the greatest cosine with a hit before.
fn choose(snapshot: &Snapshot, ask: &Ask<'_>, found: Vec<Found>) -> Result<Vec<Found>> {
    let Spread { near_duplicates, diversity } = ask.query.spread;
    let least = near_duplicates.unwrap_or(f32::INFINITY);
    let dim = ask.vector.len();
    let mut vectors = Vec::with_capacity(found.len() * dim);
    for found in &found {
        vectors.extend_from_slice(&vector_of(snapshot, found.segment, found.near.row)?);
    }
    let rows = DenseRows::new(&vectors, dim);
    let likeness_to = |vector: &[f32], at: usize| rows.as_ref().map_or(0.0, |rows| rows.score(vector, at as u32));

    let mut open: Vec<usize> = (0..found.len()).collect();
    if near_duplicates.is_some() {
        let excluded = allowed::excluded(snapshot, ask.query)?;
        let excluded = excluded.iter().map(|at| vector_of(snapshot, at.segment, at.row));
        for vector in excluded.chain(ask.unlike.iter().map(|vector| Ok(vector.into()))) {
            let vector = vector?;
            open.retain(|&candidate| likeness_to(&vector, candidate) < least);
        }
    }
    let mut likeness = vec![None::<f32>; found.len()];
    let mut chosen = Vec::with_capacity(ask.limit);
    while chosen.len() < ask.limit {
        if (ask.cancelled)() {
            return Err(Error::Cancelled);
        }
        let value = |at: usize| match likeness[at] {
            Some(likeness) => (1.0 - diversity) * found[at].near.score - diversity * likeness,
            None => found[at].near.score,
        };
        // Of equal values the first, which is the nearest.
        let best = (0..open.len()).rev().max_by(|&a, &b| value(open[a]).total_cmp(&value(open[b])));
        let Some(best) = best.map(|best| open.remove(best)) else { break };
        chosen.push(found[best]);
        let vector = &vectors[best * dim..][..dim];
        open.retain(|&at| {
            let now = likeness_to(vector, at);
            likeness[at] = Some(likeness[at].map_or(now, |before| before.max(now)));
            now < least
        });
    }
    Ok(chosen)
}

fn vector_of(snapshot: &Snapshot, segment: usize, row: u32) -> Result<Cow<'_, [f32]>> {
    Ok(snapshot.segments()[segment].vector(row)?.to_f32())
}
