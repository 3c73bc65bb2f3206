//! What a builder measured on its own rows, so that a search can be asked for recall and stop in time.
//!
//! A walk keeps going while the next node is not much worse than the `k`-th best so far. How much is *much* follows
//! from the width of the beam: a beam of `ef` is as tolerant as the score usually falls from rank `k` to rank `ef`.
//! So an easy query, whose neighbours stand out, ends early, and a hard one, among many that are nearly as good, goes
//! on for longer than a beam of a fixed width would. (Ending by distance and not by count: Peng et al. 2023, "Efficient
//! approximate nearest neighbor search in multi-dimensional databases"; Al-Jazzazi et al. 2025, arXiv:2505.15636.)
//!
//! Queries from language lie further from all rows than rows do from each other, and need wider beams. A search sees
//! which kind its query is of after [`LOOK_AFTER`] steps, by the tenth best score that it has met: rows reach
//! [`Calibration::near`]`[0]` thirty-nine times in forty, and what stays below is *far*, in three degrees. Each degree has
//! beams of its own, measured on queries of that degree: rows left out, training queries, or, without those, rows that
//! were pushed away.
//!
//! A sweep estimates scores by signs first. How far estimates of true answers fall behind the worst of these is measured on the
//! same queries, and a sweep looks as far behind as the recall asked for needs.

use super::posts::NODES_PER_POST;

/// Steps of a walk before it looks how far the query is.
pub(crate) const LOOK_AFTER: usize = 6;
/// By the score at this rank of what it has met it sees that.
pub(super) const MET: usize = 10;
/// Gaps that are kept, at ranks 1, 2, 4 ...
pub(crate) const RANKS: usize = 16;
/// Degrees of distance between a query and the rows: as rows are from each other, and three beyond.
pub(crate) const DEGREES: usize = 4;
/// The beam where none was measured.
const WIDEST: usize = 1024;
/// Below every score of unit vectors.
pub(crate) const NEVER: f32 = -2.0;
/// Recall of a sweep for which none is asked, at least: looking that far behind costs little.
const UNASKED: f32 = 0.98;
/// Further apart than any two scores.
pub(crate) const ANY: f32 = 4.0;
/// Recall@10 for which the beam is kept.
pub(crate) const TARGETS: [f32; 8] = [0.80, 0.85, 0.90, 0.95, 0.97, 0.98, 0.99, 0.999];

/// Measures of a graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Calibration {
    /// What a score by the first level of codes may be off.
    pub(crate) coarse_error: f32,
    /// The same for both levels.
    pub(crate) fine_error: f32,
    /// How far the score falls from the best to rank `2^i`, on average.
    pub(crate) gaps: [f32; RANKS],
    /// Scores after the first steps below which a query is of the next degree, falling.
    pub(crate) near: [f32; DEGREES - 1],
    /// For each degree the beam that reaches each of [`TARGETS`], or finds as much as any; 0 where none was measured.
    pub(crate) beams: [[u16; TARGETS.len()]; DEGREES],
    /// Steps of the grid that an element is on average, as estimates by signs want it.
    pub(crate) spread: f32,
    /// For each of [`TARGETS`] how far behind the `k`-th best score the estimate of an answer may lie.
    pub(crate) behind: [f32; TARGETS.len()],
}

impl Default for Calibration {
    fn default() -> Self {
        let (gaps, beams) = ([0.0; RANKS], [[0; TARGETS.len()]; DEGREES]);
        let behind = [ANY; TARGETS.len()];
        Self { coarse_error: 0.0, fine_error: 0.0, gaps, near: [NEVER; DEGREES - 1], beams, spread: 1.0, behind }
    }
}

impl Calibration {
    /// How far the score falls from the best to `rank` (from 1), between the kept ranks evenly in the logarithm.
    fn gap(&self, rank: usize) -> f32 {
        let at = (rank.max(1) as f32).log2();
        let low = (at as usize).min(RANKS - 2);
        let (from, to) = (self.gaps[low], self.gaps[low + 1]);
        from + (to - from) * (at - low as f32).min(4.0)
    }

    /// How much worse than the `k`-th best a node may be and still be expanded, with a beam of `ef`. Below zero for
    /// a beam narrower than `k`.
    pub(crate) fn tolerance(&self, k: usize, ef: usize) -> f32 {
        self.gap(ef) - self.gap(k)
    }

    /// The score of its best post below which a query is far. A post stands for [`NODES_PER_POST`] nodes, so for a query like
    /// rows the best of them is about as near as the node of that rank.
    pub(crate) fn far_from_posts(&self) -> f32 {
        self.near[0] - self.tolerance(MET, NODES_PER_POST)
    }

    /// How far from the rows a query is whose walk has come to that score in its first steps.
    pub(crate) fn degree(&self, nearness: f32) -> usize {
        self.near.iter().filter(|near| nearness < **near).count()
    }

    /// The widest beam that a recall may take.
    pub(crate) fn widest(&self, recall: f32) -> usize {
        (0..DEGREES).map(|degree| self.beam(recall, degree)).max().unwrap_or(WIDEST)
    }

    /// The beam for a recall and a query of that degree.
    pub(crate) fn beam(&self, recall: f32, degree: usize) -> usize {
        match self.beams[degree.min(DEGREES - 1)][target(recall)] {
            0 => WIDEST,
            beam => beam.into(),
        }
    }

    /// How far behind the `k`-th best score an estimate by signs may lie: for a recall, or for what a beam of `ef` finds for ten
    /// neighbours of the farthest queries, and no less than [`UNASKED`].
    pub(crate) fn behind(&self, recall: Option<f32>, ef: usize) -> f32 {
        let enough = |beam: &u16| *beam != 0 && usize::from(*beam) <= ef;
        let found = || self.beams[DEGREES - 1].iter().rposition(enough).unwrap_or(0).max(target(UNASKED));
        self.behind[recall.map_or_else(found, target)]
    }
}

/// The first of [`TARGETS`] that is enough.
fn target(recall: f32) -> usize {
    TARGETS.iter().position(|target| *target >= recall - 1e-6).unwrap_or(TARGETS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_grows_with_the_beam() {
        let mut calibration = Calibration::default();
        for (at, gap) in calibration.gaps.iter_mut().enumerate() {
            *gap = at as f32 * 0.1;
        }
        assert!((calibration.tolerance(8, 16) - 0.1).abs() < 1e-6 && (calibration.tolerance(8, 4) + 0.1).abs() < 1e-6);
        assert_eq!(calibration.tolerance(10, 10), 0.0);
        let wide: Vec<f32> = [10, 12, 100, 5_000, 1 << 20].map(|ef| calibration.tolerance(10, ef)).to_vec();
        assert!(wide.is_sorted() && wide.iter().all(|gap| gap.is_finite()));
    }

    #[test]
    fn the_beam_of_a_recall() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.beam(0.95, 0), 1024);
        calibration.beams[0] = [4, 5, 6, 12, 20, 24, 40, 0];
        calibration.beams[2] = [4, 5, 9, 30, 0, 0, 80, 0];
        assert_eq!([0.5, 0.9, 0.94, 0.99, 0.999].map(|recall| calibration.beam(recall, 0)), [4, 6, 12, 40, 1024]);
        assert_eq!([0.5, 0.9, 0.97, 0.99].map(|recall| calibration.beam(recall, 2)), [4, 9, 1024, 80]);
    }

    #[test]
    fn a_sweep_looks_as_far_behind_as_the_recall_or_the_beam_wants() {
        let mut calibration =
            Calibration { behind: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], ..Calibration::default() };
        assert_eq!([Some(0.8), Some(0.99), Some(1.0)].map(|recall| calibration.behind(recall, 1)), [0.0, 0.6, 0.7]);
        assert_eq!(calibration.behind(None, 1024), 0.5, "nothing was measured");
        calibration.beams[DEGREES - 1] = [10, 12, 16, 32, 64, 64, 128, 0];
        assert_eq!([1, 40, 64, 5_000].map(|ef| calibration.behind(None, ef)), [0.5, 0.5, 0.5, 0.6]);
    }

    #[test]
    fn a_query_is_far_when_what_it_meets_is() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.degree(-1.0), 0);
        calibration.near = [0.7, 0.5, NEVER];
        assert_eq!([0.8, 0.7, 0.6, 0.1, f32::NAN].map(|score| calibration.degree(score)), [0, 0, 1, 2, 0]);
    }
}
