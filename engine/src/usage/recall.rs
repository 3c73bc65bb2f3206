//! A running estimate of recall: a few searches are repeated exactly, and what both found is counted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::retrieve::Found;

/// Samples that an estimate is made of: the last ones.
const SAMPLES_MAX: usize = 1024;
/// One search in this many may be a sample, so that those right after an exact search are not preferred.
const ONE_IN: u32 = 16;

/// Share of the true hits that searches found, with an interval of 95%.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecallEstimate {
    /// Found of the true hits of all samples.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Searches that were repeated exactly; the last 1,024 count.
    pub samples: u32,
}

/// The last samples.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Samples {
    /// True hits, and those of them that were found.
    counts: VecDeque<(u16, u16)>,
    searches: u32,
    /// No sample before it.
    rest_until: Option<Instant>,
}

impl Samples {
    pub(super) fn of(counts: Vec<(u16, u16)>) -> Self {
        let sound = counts.into_iter().filter(|(wanted, found)| found <= wanted && *wanted > 0);
        Self { counts: sound.take(SAMPLES_MAX).collect(), ..Self::default() }
    }

    pub(super) fn counts(&self) -> impl ExactSizeIterator<Item = (u16, u16)> {
        self.counts.iter().copied()
    }

    /// Whether the search that asks is to be repeated.
    pub(super) fn is_due(&mut self) -> bool {
        self.searches = self.searches.wrapping_add(1);
        self.searches % ONE_IN == 1 && self.is_due_at(Instant::now())
    }

    fn is_due_at(&mut self, now: Instant) -> bool {
        let is_due = self.rest_until.is_none_or(|until| now >= until);
        if is_due {
            // Until this one is added, or is found to be impossible.
            self.rest_until = Some(now + Duration::from_secs(1));
        }
        is_due
    }

    /// Adds a sample whose exact search took `took`, and rests so long that exact searches have `budget` of the time.
    pub(super) fn add(&mut self, found: &[Found], truth: &[Found], took: Duration, budget: f32) {
        let rest = (took.as_secs_f64() * f64::from(1.0 / budget.clamp(1e-4, 1.0) - 1.0)).clamp(0.0, 3600.0);
        self.rest_until = Some(Instant::now() + Duration::from_secs_f64(rest));
        let Some(worst) = truth.last() else { return };
        // A row that is as near as the last true hit is as good: which of equals comes back is chance.
        let good = found.iter().filter(|found| found.near.score >= worst.near.score - 1e-6).count();
        if self.counts.len() == SAMPLES_MAX {
            self.counts.pop_front();
        }
        self.counts.push_back((truth.len() as u16, good.min(truth.len()) as u16));
    }

    /// Wilson's interval over hits, made as wide as the spread between queries asks for: hits of one query are found
    /// together or missed together.
    pub(super) fn estimate(&self) -> Option<RecallEstimate> {
        const Z: f64 = 1.96;
        let queries = self.counts.len() as f64;
        let wanted: f64 = self.counts.iter().map(|(wanted, _)| f64::from(*wanted)).sum();
        if wanted == 0.0 {
            return None;
        }
        let mean = self.counts.iter().map(|(_, found)| f64::from(*found)).sum::<f64>() / wanted;
        let spread = |(wanted, found): &(u16, u16)| (f64::from(*found) - mean * f64::from(*wanted)).powi(2);
        let variance = self.counts.iter().map(spread).sum::<f64>() / (wanted * wanted);
        let n = if variance > 0.0 { (mean * (1.0 - mean) / variance).clamp(1.0, wanted) } else { queries };
        let middle = (mean + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).sqrt();
        let (low, high) = ((middle - half).max(0.0), (middle + half).min(1.0));
        Some(RecallEstimate { mean, low: low.min(mean), high: high.max(mean), samples: self.counts.len() as u32 })
    }
}

#[cfg(test)]
mod tests {
    use fromagerie_index::Neighbor;

    use super::*;

    fn found(scores: &[f32]) -> Vec<Found> {
        let found =
            |(row, score): (usize, &f32)| Found { segment: 0, near: Neighbor { row: row as u32, score: *score } };
        scores.iter().enumerate().map(found).collect()
    }

    #[test]
    fn the_interval_holds_the_mean_and_narrows() {
        let mut samples = Samples::default();
        assert_eq!(samples.estimate(), None);
        let mut width = 1.0;
        for n in 0..2000 {
            let truth = found(&[0.9, 0.8, 0.7, 0.6]);
            let three = found(&[0.9, 0.8, 0.7, 0.5]);
            samples.add(if n % 2 == 0 { &truth } else { &three }, &truth, Duration::ZERO, 1.0);
            let estimate = samples.estimate().unwrap();
            assert!(estimate.low <= estimate.mean && estimate.mean <= estimate.high && estimate.low > 0.0);
            if [9, 99, 999].contains(&n) {
                assert!((estimate.mean - 0.875).abs() < 1e-9 && estimate.high - estimate.low < width / 2.0);
                width = estimate.high - estimate.low;
            }
        }
        assert_eq!(samples.estimate().unwrap().samples, 1024);
    }

    #[test]
    fn only_what_was_found_leaves_doubt() {
        let mut samples = Samples::default();
        let truth = found(&[0.9, 0.9, 0.1]);
        (0..10).for_each(|_| samples.add(&truth, &truth, Duration::ZERO, 1.0));
        let estimate = samples.estimate().unwrap();
        assert!(estimate.mean == 1.0 && estimate.high == 1.0 && (0.6..0.9).contains(&estimate.low), "{estimate:?}");
        samples.add(&found(&[]), &found(&[]), Duration::ZERO, 1.0);
        assert_eq!(samples.estimate().unwrap().samples, 10, "nothing to be found is no sample");
    }

    #[test]
    fn exact_searches_keep_to_their_share() {
        let (mut samples, start) = (Samples::default(), Instant::now());
        assert!(samples.is_due_at(start));
        assert!(!samples.is_due_at(start), "one at a time");
        samples.add(&found(&[0.5]), &found(&[0.5]), Duration::from_millis(10), 0.01);
        assert!(!samples.is_due_at(start + Duration::from_millis(900)));
        assert!(samples.is_due_at(Instant::now() + Duration::from_millis(1000)));
    }
}
