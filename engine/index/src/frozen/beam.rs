//! The best nodes so far, best first, in one array: the candidates and the results of a greedy search are the same
//! entries with and without their mark of being expanded.
//!
//! An entry is one word: the score, which is a whole number, above; then two marks; then the node, inverted, so that
//! of equal scores the lower node comes first.

/// The node of this entry has been expanded.
const EXPANDED: u64 = 1 << 31;
/// The node of this entry may be an answer; others are only stepping stones.
const COUNTS: u64 = 1 << 30;
/// What entries are ordered by.
const ORDER: u64 = !(EXPANDED | COUNTS);
const NODE: u32 = (1 << 30) - 1;
/// Under a filter, nodes that are expanded for each that is as good as the worst answer, where [`MUCH`] of the answers is
/// wanted. What was measured of the graph says how far apart the best of all nodes lie; those that count may be sparser, on
/// one side of the query, or far from it.
const REACH: f32 = 3.0;
/// The same where less is wanted.
const REACH_LESS: f32 = 1.5;
/// Recall from which a walk reaches further.
const MUCH: f32 = 0.95;
/// Stepping stones for each place of a beam under a filter, before scanning is cheaper.
const STONES_PER_PLACE: usize = 64;
/// Nodes as good as the worst answer, for each answer wanted, beyond which a walk no longer finds what a scan would: those that
/// count lie where the graph has no reason to lead.
const AS_GOOD_PER_ANSWER: usize = 32;

/// When a beam is full, and when it has seen enough.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rule {
    /// Answers wanted.
    pub(crate) k: usize,
    /// How much worse than the `k`-th best a node may be and still be expanded.
    pub(crate) tolerance: i32,
    /// How much worse than the `k`-th best a node may be and still turn out to be among them on a closer look.
    pub(crate) margin: i32,
    /// Entries at most.
    pub(crate) width: usize,
    /// [`REACH`] or less, where some nodes do not count.
    reach: Option<f32>,
}

impl Rule {
    /// Entries of a beam for each place asked for: what bounds the work for a query without near neighbours.
    const ENTRIES_PER_PLACE: usize = 8;

    /// The rule of a search for `k` with a beam of `ef`, where every node counts.
    pub(crate) fn of(k: usize, ef: usize, tolerance: i32, margin: i32) -> Self {
        Self { k, tolerance, margin, width: Self::ENTRIES_PER_PLACE * ef.max(k), reach: None }
    }

    /// The same where some nodes do not count; without a recall it reaches as far as for much.
    pub(super) fn under_filter(self, recall: Option<f32>) -> Self {
        let reach = if recall.is_some_and(|recall| recall < MUCH) { REACH_LESS } else { REACH };
        Self { reach: Some(reach), ..self }
    }

    fn is_filtered(&self) -> bool {
        self.reach.is_some()
    }

    /// With room for stepping stones, where not every node counts.
    fn with_stones(self) -> Self {
        let width = if self.is_filtered() { self.width.saturating_mul(STONES_PER_PLACE) } else { self.width };
        Self { width, ..self }
    }

    /// The rule of a beam of a fixed width, in which all entries are answers.
    pub(crate) fn fixed(width: usize) -> Self {
        Self { k: width, width, ..Self::default() }
    }
}

/// The beam.
#[derive(Debug, Default)]
pub(crate) struct Beam {
    entries: Vec<u64>,
    rule: Rule,
    /// Scores of the best `k` that count, best first; only kept under a filter, where they are not the first entries.
    counting: Vec<i32>,
    /// Scores below it are too far; follows from the `k`-th best.
    floor: i32,
    /// Entries before it are expanded.
    next: usize,
    overgrown: bool,
}

#[inline]
fn entry(score: i32, node: u32) -> u64 {
    u64::from(score as u32 ^ 1 << 31) << 32 | u64::from(!node & NODE)
}

#[inline]
fn score_of(entry: u64) -> i32 {
    ((entry >> 32) as u32 ^ 1 << 31) as i32
}

#[inline]
fn node_of(entry: u64) -> u32 {
    !(entry as u32) & NODE
}

impl Beam {
    pub(super) fn start(&mut self, rule: Rule) {
        self.entries.clear();
        self.counting.clear();
        self.rule = rule.with_stones();
        (self.floor, self.next, self.overgrown) = (i32::MIN, 0, false);
    }

    /// From now on another rule says when to end. For the same `k`, and no more tolerant than the one before.
    pub(super) fn go_by(&mut self, rule: Rule) {
        self.rule = rule.with_stones();
        self.see_floor();
    }

    #[inline]
    fn see_floor(&mut self) {
        let Some(floor) = self.below_kth(self.rule.tolerance.max(self.rule.margin)) else { return };
        self.floor = floor;
        if !self.rule.is_filtered() {
            // What has fallen behind is moved no more.
            while self.entries.last().is_some_and(|entry| score_of(*entry) < floor) {
                self.entries.pop();
            }
        }
    }

    /// That much below the `k`-th best that counts; under a filter no higher than the reach goes.
    #[inline]
    fn below_kth(&self, difference: i32) -> Option<i32> {
        let kth = self.kth()?;
        let below = kth.saturating_sub(difference);
        let Some(reach) = self.rule.reach else { return Some(below) };
        self.entries.get((reach * self.as_good(kth) as f32) as usize).map(|entry| below.min(score_of(*entry)))
    }

    /// Nodes with at least that score, whether they count or not.
    #[inline]
    fn as_good(&self, score: i32) -> usize {
        self.entries.partition_point(|entry| score_of(*entry) >= score)
    }

    /// The score at a place from 0, of a node that counts or of another; of the last where there are fewer.
    pub(super) fn score_at(&self, place: usize) -> Option<i32> {
        self.entries.get(place).or(self.entries.last()).map(|entry| score_of(*entry))
    }

    /// Score of the `k`-th best that counts.
    #[inline]
    fn kth(&self) -> Option<i32> {
        match self.rule.is_filtered() {
            false => self.entries.get(self.rule.k - 1).map(|entry| score_of(*entry)),
            true => self.counting.get(self.rule.k - 1).copied(),
        }
    }

    /// Puts a node where it belongs, unless it is too far to lead or to be an answer.
    #[inline]
    pub(crate) fn offer(&mut self, node: u32, score: i32, counts: impl FnOnce() -> bool) {
        if score < self.floor {
            return;
        }
        let entry = entry(score, node);
        if self.entries.len() >= self.rule.width {
            match self.entries.last() {
                Some(worst) if worst & ORDER < entry => self.entries.pop(),
                _ => return self.overgrown = true,
            };
            self.overgrown = true;
        }
        let counts = counts();
        let at = self.entries.partition_point(|other| other & ORDER > entry);
        self.entries.insert(at, entry | if counts { COUNTS } else { 0 });
        self.next = self.next.min(at);
        if self.rule.is_filtered() && counts {
            let at = self.counting.partition_point(|other| *other >= score);
            if at < self.rule.k {
                self.counting.truncate(self.rule.k - 1);
                self.counting.insert(at, score);
            }
        }
        self.see_floor();
    }

    /// The best node not yet expanded, which from now on is; `None` when what is left is too far.
    #[inline]
    pub(crate) fn expand_next(&mut self) -> Option<u32> {
        while self.entries.get(self.next)? & EXPANDED != 0 {
            self.next += 1;
        }
        let entry = self.entries[self.next];
        if self.rule.is_filtered() && self.kth().is_some_and(|kth| self.as_good(kth) > AS_GOOD_PER_ANSWER * self.rule.k)
        {
            self.overgrown = true;
            return None;
        }
        if self.below_kth(self.rule.tolerance).is_some_and(|floor| score_of(entry) < floor) {
            return None;
        }
        self.entries[self.next] |= EXPANDED;
        self.next += 1;
        Some(node_of(entry))
    }

    /// Nodes that are still to be expanded, unless better ones are met.
    pub(super) fn waiting(&self) -> usize {
        let floor = self.below_kth(self.rule.tolerance).unwrap_or(i32::MIN);
        let near = self.entries[self.next..].iter().take_while(|entry| score_of(**entry) >= floor);
        near.filter(|entry| **entry & EXPANDED == 0).count()
    }

    /// Whether stepping stones have made the beam so long that scanning is cheaper.
    #[inline]
    pub(super) fn is_overgrown(&self) -> bool {
        self.rule.is_filtered() && self.overgrown
    }

    /// Entries that count, best first: node and score.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (u32, i32)> {
        let counting = self.entries.iter().filter(|entry| !self.rule.is_filtered() || **entry & COUNTS != 0);
        counting.map(|entry| (node_of(*entry), score_of(*entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beam(rule: Rule, offers: &[(u32, i32, bool)]) -> Beam {
        let mut beam = Beam::default();
        beam.start(rule);
        offers.iter().for_each(|(node, score, counts)| beam.offer(*node, *score, || *counts));
        beam
    }

    const RULE: Rule = Rule { k: 2, tolerance: 10, margin: 0, width: 4, reach: None };

    #[test]
    fn best_first_and_of_equals_the_lower_node() {
        let beam = beam(RULE, &[(1, i32::MAX, true), (3, 9, true), (2, 9, true), (0, i32::MIN, true), (7, -5, true)]);
        assert_eq!(beam.answers().collect::<Vec<_>>(), [(1, i32::MAX), (2, 9), (3, 9)]);
    }

    #[test]
    fn what_is_far_behind_the_kth_is_not_taken_nor_expanded() {
        let mut near = beam(RULE, &[(0, 100, true), (1, 90, true), (2, 80, true), (3, 79, true)]);
        assert_eq!(near.answers().map(|(node, _)| node).collect::<Vec<_>>(), [0, 1, 2]);
        near.offer(4, 95, || true);
        assert_eq!(near.answers().map(|(node, _)| node).collect::<Vec<_>>(), [0, 4, 1], "80 has fallen behind");
        let expanded: Vec<_> = std::iter::from_fn(|| near.expand_next()).collect();
        assert_eq!(expanded, [0, 4, 1], "80 is more than 10 behind 95");
    }

    #[test]
    fn what_is_within_the_margin_is_taken_but_not_expanded() {
        let mut beam =
            beam(Rule { tolerance: -1, margin: 5, ..RULE }, &[(0, 9, true), (1, 7, true), (2, 3, true), (3, 1, true)]);
        assert_eq!(beam.answers().map(|(node, _)| node).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(std::iter::from_fn(|| beam.expand_next()).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn those_wait_that_are_near_and_not_expanded() {
        let mut beam = beam(RULE, &[(0, 100, true), (1, 90, true), (2, 80, true), (3, 79, true)]);
        assert_eq!(beam.waiting(), 3, "79 is too far");
        beam.expand_next();
        assert_eq!(beam.waiting(), 2);
        beam.offer(4, 95, || true);
        assert_eq!(beam.waiting(), 2, "80 has become too far");
    }

    #[test]
    fn a_better_node_is_expanded_first() {
        let mut beam = beam(RULE, &[(0, 1, true), (1, 2, true)]);
        assert_eq!(beam.expand_next(), Some(1));
        beam.offer(2, 3, || true);
        assert_eq!([beam.expand_next(), beam.expand_next(), beam.expand_next()], [Some(2), Some(0), None]);
    }

    #[test]
    fn a_filter_looks_past_stepping_stones() {
        let rule = Rule { tolerance: 0, ..RULE.under_filter(None) };
        let mut beam =
            beam(rule, &[(0, 9, false), (1, 8, false), (2, 7, true), (3, 6, true), (4, 5, true), (5, 5, false)]);
        assert_eq!(beam.answers().collect::<Vec<_>>(), [(2, 7), (3, 6), (4, 5)]);
        assert_eq!(std::iter::from_fn(|| beam.expand_next()).count(), 6, "too few to say that any is too far");
        assert!(!beam.is_overgrown());
        (10..10 + 4 * STONES_PER_PLACE as u32).for_each(|node| beam.offer(node, 8, || false));
        assert!(beam.is_overgrown());
    }

    #[test]
    fn under_a_filter_more_are_expanded_than_are_as_good_as_the_worst_answer() {
        let rule = Rule { tolerance: 0, ..RULE.under_filter(None) };
        let falling: Vec<_> = (0..30).map(|node| (node, 30 - node as i32, node < 2)).collect();
        let mut beam = beam(rule, &falling);
        assert_eq!(std::iter::from_fn(|| beam.expand_next()).count(), 2 * 3 + 1);
        let less = rule.under_filter(Some(0.9));
        let mut beam = self::beam(less, &falling);
        assert_eq!(std::iter::from_fn(|| beam.expand_next()).count(), 3 + 1);
    }

    #[test]
    fn a_walk_among_many_that_do_not_count_gives_up() {
        let rule = Rule { width: usize::MAX, ..RULE.under_filter(None) };
        for (stones, gives_up) in [(AS_GOOD_PER_ANSWER * 2 - 2, false), (AS_GOOD_PER_ANSWER * 2 - 1, true)] {
            let mut offers: Vec<_> = (0..stones as u32).map(|node| (node, 9, false)).collect();
            offers.extend([(5000, 8, true), (5001, 8, true)]);
            let mut beam = beam(rule, &offers);
            assert_eq!((beam.expand_next().is_none(), beam.is_overgrown()), (gives_up, gives_up), "{stones} stones");
        }
    }
}
