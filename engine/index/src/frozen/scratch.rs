//! The memory of a search, kept for the next one: after the first few, a search allocates nothing.

use crate::top::Top;
use crate::{Neighbor, Query};

/// Room for one search at a time, over graphs of any size. Keep one a thread.
///
/// It holds a byte for each row of the largest graph it has served, and some kilobytes.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) visited: Visited,
    pub(super) beam: Beam,
    /// Rows about to be scored.
    pub(super) batch: Vec<u32>,
    /// The same in an upper layer: position and row.
    pub(super) upper_batch: Vec<(u32, u32)>,
    pub(super) top: Top,
    pub(super) found: Vec<Neighbor>,
    pub(super) distances: u64,
    pub(super) scanned: bool,
}

impl Scratch {
    /// No memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows that the last search compared with its query, those of the upper layers included.
    #[must_use]
    pub fn distances(&self) -> u64 {
        self.distances
    }

    /// Whether the last search ended in an exact scan, because the filter was too narrow for the graph.
    #[must_use]
    pub fn scanned(&self) -> bool {
        self.scanned
    }

    pub(super) fn start(&mut self, rows: usize, width: usize) {
        self.visited.start(rows);
        self.beam.start(width);
        self.found.clear();
        self.distances = 0;
        self.scanned = false;
    }
}

/// Which rows a search has seen: a stamp a row, so that starting anew is counting up.
#[derive(Debug, Default)]
pub(super) struct Visited {
    stamps: Vec<u8>,
    epoch: u8,
}

impl Visited {
    fn start(&mut self, rows: usize) {
        if self.stamps.len() < rows {
            self.stamps.resize(rows, 0);
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.stamps.fill(0);
            self.epoch = 1;
        }
    }

    /// Marks `row`; whether this is the first time. A row that does not exist has always been seen.
    #[inline]
    pub(super) fn first_time(&mut self, row: u32, rows: usize) -> bool {
        match self.stamps[..rows].get_mut(row as usize) {
            Some(stamp) if *stamp != self.epoch => {
                *stamp = self.epoch;
                true
            }
            _ => false,
        }
    }
}

/// A row in the beam.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) neighbor: Neighbor,
    /// Whether it, or a twin of it, may be an answer. Others are only stepping stones.
    counts: bool,
    expanded: bool,
}

/// The best candidates so far, best first, in one array: the candidates and the results of Malkov & Yashunin's
/// Algorithm 2 are the same entries with and without their `expanded` mark.
///
/// It is `width` wide in entries that count; entries that do not are kept between them, so that a filter never
/// narrows the way.
#[derive(Debug, Default)]
pub(super) struct Beam {
    entries: Vec<Candidate>,
    width: usize,
    counting: usize,
    /// Entries before it are expanded.
    next: usize,
}

impl Beam {
    fn start(&mut self, width: usize) {
        self.entries.clear();
        (self.width, self.counting, self.next) = (width, 0, 0);
    }

    /// Whether a row with this score has a place, or would push one out.
    #[inline]
    pub(super) fn wants(&self, neighbor: &Neighbor) -> bool {
        self.counting < self.width || self.entries.last().is_none_or(|worst| *neighbor < worst.neighbor)
    }

    /// Puts a wanted row where it belongs. Once full, the last entry is always one that counts.
    #[inline]
    pub(super) fn insert(&mut self, neighbor: Neighbor, counts: bool) {
        let at = self.entries.partition_point(|entry| entry.neighbor < neighbor);
        self.entries.insert(at, Candidate { neighbor, counts, expanded: false });
        self.next = self.next.min(at);
        self.counting += usize::from(counts);
        if self.counting > self.width {
            self.entries.pop();
            self.counting -= 1;
        }
        while self.counting == self.width && self.entries.last().is_some_and(|last| !last.counts) {
            self.entries.pop();
        }
    }

    /// The best row not yet expanded, which from now on is.
    #[inline]
    pub(super) fn expand_next(&mut self) -> Option<u32> {
        let step = self.entries.get(self.next..)?.iter().position(|entry| !entry.expanded)?;
        let entry = &mut self.entries[self.next + step];
        entry.expanded = true;
        self.next += step + 1;
        Some(entry.neighbor.row)
    }

    /// Whether stepping stones have made the beam so long that scanning is cheaper.
    #[inline]
    pub(super) fn is_overgrown(&self) -> bool {
        const STONES_PER_PLACE: usize = 64;
        self.entries.len() > self.width.saturating_mul(STONES_PER_PLACE)
    }

    /// Entries that count, best first, down to the least score that `query` takes.
    pub(super) fn answers(&self, query: &Query<'_>) -> impl Iterator<Item = Neighbor> {
        let counting = self.entries.iter().filter(|entry| entry.counts).map(|entry| entry.neighbor);
        counting.take_while(|neighbor| query.is_good_enough(neighbor.score))
    }

    pub(super) fn counting(&self) -> usize {
        self.counting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(beam: &Beam) -> Vec<u32> {
        beam.entries.iter().map(|entry| entry.neighbor.row).collect()
    }

    fn offer(beam: &mut Beam, row: u32, score: f32, counts: bool) {
        let neighbor = Neighbor { row, score };
        if beam.wants(&neighbor) {
            beam.insert(neighbor, counts);
        }
    }

    #[test]
    fn the_beam_is_as_wide_as_what_counts() {
        let mut beam = Beam::default();
        beam.start(2);
        for (row, score, counts) in [(0, 0.1, false), (1, 0.5, true), (2, 0.4, false), (3, 0.3, true)] {
            offer(&mut beam, row, score, counts);
        }
        assert_eq!(rows(&beam), [1, 2, 3], "what lies behind the last that counts is no stepping stone");
        offer(&mut beam, 4, 0.2, true);
        offer(&mut beam, 5, 0.9, true);
        assert_eq!(rows(&beam), [5, 1]);
    }

    #[test]
    fn a_better_row_is_expanded_first() {
        let mut beam = Beam::default();
        beam.start(3);
        offer(&mut beam, 0, 0.1, true);
        offer(&mut beam, 1, 0.2, true);
        assert_eq!(beam.expand_next(), Some(1));
        offer(&mut beam, 2, 0.3, true);
        assert_eq!([beam.expand_next(), beam.expand_next(), beam.expand_next()], [Some(2), Some(0), None]);
    }

    #[test]
    fn stamps_survive_wrapping_and_growing() {
        let mut visited = Visited::default();
        for round in 0..600 {
            visited.start(1 + round % 7);
            assert!(visited.first_time(0, 1 + round % 7), "round {round}");
            assert!(!visited.first_time(0, 1 + round % 7));
            assert!(!visited.first_time(7, 1 + round % 7), "a row that does not exist");
        }
    }
}
