//! What a graph can do, measured on some of its own rows, left out one at a time, on training queries, and on rows that
//! were [pushed](super::push) away from the others, as text is from images.
//!
//! Rows left out say below which score a query is far, and how wide the beam must be for those that are not.
//! The far ones fall into degrees of about equal numbers of pushed rows. A degree's beam is the one that its training
//! queries need, or without enough of them each kind of its pushed rows, and never narrower than that of a nearer degree.
//! How far behind estimates by signs may lie is what the kind of queries needs that needs most.

use fromagerie_kernels::{Kernel, dot};
use rayon::prelude::*;

use super::plan::{Plan, Worker};
use super::{push, scan};
use crate::Rows;
use crate::frozen::{ANY, Calibration, DEGREES, LOOK_AFTER, Prepared, RANKS, Rule, TARGETS, Walk, rest_bytes, spread};

/// Rows left out, and training queries.
const SAMPLE: usize = 240;
/// Rows that are pushed away.
const PUSHED: usize = 512;
/// Queries of a degree that say what beam it needs, at least.
const ENOUGH: usize = 20;
/// One row in this many counts as far from the others.
const FAR: usize = 40;
/// Answers looked for.
const K: usize = 10;
/// Candidates by codes among which the true answers are looked for.
pub(super) const CANDIDATES: usize = 64;
/// Ranks whose scores are looked at, at most.
pub(super) const RANK_MAX: usize = 1 << (RANKS - 1);
/// Beams that are tried, narrowest first.
const BEAMS: [usize; 22] = [2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 512, 1024];
/// Nodes that say how many steps an element is.
const SPREAD_SAMPLE: usize = 1024;
/// Standard deviations that an error by both levels is taken for.
const SURE: f32 = 4.0;
/// The same for the first level. At 4 recall@10 is .0004 higher than at 2.8 (256 dimensions) and half as many candidates
/// again are re-scored; at 2.8 the best of all is missed now and then where dimensions are few.
const SURE_COARSE: f32 = 3.3;

/// How many of `count` training queries are not learned from, but measured with.
pub(super) fn left_out(count: usize) -> usize {
    SAMPLE.min(count / 10)
}

/// A query to measure with: the node to leave out (or none), its answers, and their scores.
struct Probe<'p> {
    vector: &'p [f32],
    own: Option<u32>,
    /// The score by which a walk sees how far it is.
    nearness: f32,
    answers: Vec<u32>,
    /// From the best to the scores at ranks 1, 2, 4 ...
    gaps: [f32; RANKS],
    /// How far the estimate of each answer by its signs lies behind the score of the worst.
    behind: Vec<f32>,
}

/// Measures the finished graph.
pub(super) fn calibrate<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    training: Option<&(dyn Rows + Sync)>,
) -> Calibration {
    let nodes = plan.nodes.len();
    let mut calibration = Calibration::default();
    (calibration.coarse_error, calibration.fine_error) = errors(plan);
    let links = plan.links();
    let sample = (0..nodes as u32).step_by(nodes.div_ceil(SPREAD_SAMPLE).max(1));
    calibration.spread = spread(sample.map(|node| links.code(node)), &plan.grid.step);
    if nodes <= K {
        return calibration;
    }
    let own: Vec<u32> = (0..nodes as u32).step_by(nodes.div_ceil(SAMPLE)).collect();
    let walk = plan.walk();
    let own: Vec<_> = own.into_iter().map(|node| (plan.vector(node), Some(node))).collect();
    let own = probes(plan, walk, &own, calibration.spread);
    for (at, gap) in calibration.gaps.iter_mut().enumerate() {
        *gap = own.iter().map(|probe| probe.gaps[at]).sum::<f32>() / own.len() as f32;
    }
    calibration.near[0] = far(&own);
    let walk = walk.far_below(calibration.far_from_posts());
    let asked: Vec<_> = training.map_or_else(Vec::new, |training| {
        let (from, count) = (training.len() - left_out(training.len()), training.len());
        let asked: Vec<_> = (from as u32..count as u32).map(|row| (training.row(row), None)).collect();
        probes(plan, walk, &asked, calibration.spread)
    });
    let pushed = push::away(plan, PUSHED);
    let pushed: Vec<_> = pushed.chunks_exact(plan.rows.dim()).map(|vector| (vector, None)).collect();
    let pushed = probes(plan, walk, &pushed, calibration.spread);
    calibration.behind = [&own, &asked, &pushed]
        .into_iter()
        .filter_map(|probes| behind(probes))
        .reduce(further)
        .unwrap_or(calibration.behind);
    part(&pushed, &mut calibration);
    for degree in 0..DEGREES {
        let (of_own, of_asked) = (of_degree(&own, degree, &calibration), of_degree(&asked, degree, &calibration));
        let of_kind = |kind| of_degree(pushed.iter().skip(kind).step_by(push::KINDS), degree, &calibration);
        let kinds = match degree {
            0 => vec![of_own, of_asked],
            _ if of_asked.len() < ENOUGH => (0..push::KINDS).map(of_kind).collect(),
            _ => vec![of_asked],
        };
        let kinds = kinds.iter().filter(|probes| probes.len() >= ENOUGH.min(own.len() / 2));
        let needed: Vec<_> = kinds.map(|probes| needed(plan, walk, probes, &calibration)).collect();
        let nearer = degree.checked_sub(1).map(|degree| calibration.beams[degree]);
        calibration.beams[degree] = needed.into_iter().chain(nearer).reduce(wider).unwrap_or_default();
    }
    calibration
}

/// Those probes that are of a degree.
fn of_degree<'a, 'p: 'a>(
    probes: impl IntoIterator<Item = &'a Probe<'p>>,
    degree: usize,
    calibration: &Calibration,
) -> Vec<&'a Probe<'p>> {
    probes.into_iter().filter(|probe| calibration.degree(probe.nearness) == degree).collect()
}

/// The beam of each target that serves both; 0, where nothing was measured, is widest.
fn wider(one: [u16; TARGETS.len()], other: [u16; TARGETS.len()]) -> [u16; TARGETS.len()] {
    std::array::from_fn(|at| if one[at] == 0 || other[at] == 0 { 0 } else { one[at].max(other[at]) })
}

/// What their walks have met, best first.
fn falling<'a, 'p: 'a>(probes: impl Iterator<Item = &'a Probe<'p>>) -> Vec<f32> {
    let mut met: Vec<f32> = probes.map(|probe| probe.nearness.clamp(-2.0, 2.0)).collect();
    met.sort_unstable_by(|a, b| b.total_cmp(a));
    met
}

/// How far behind the worst answer the estimates of as many answers lie as each target wants, and half of what it does without.
fn behind(probes: &[Probe<'_>]) -> Option<[f32; TARGETS.len()]> {
    let mut behind: Vec<f32> = probes.iter().flat_map(|probe| probe.behind.iter().copied()).collect();
    behind.sort_unstable_by(f32::total_cmp);
    let last = behind.len().checked_sub(1)?;
    Some(TARGETS.map(|target| behind[((1.0 + target) / 2.0 * last as f32).ceil() as usize].clamp(-ANY, ANY)))
}

/// What serves both.
fn further(one: [f32; TARGETS.len()], other: [f32; TARGETS.len()]) -> [f32; TARGETS.len()] {
    std::array::from_fn(|at| one[at].max(other[at]))
}

/// The score below which queries are far.
fn far(own: &[Probe<'_>]) -> f32 {
    let met = falling(own.iter());
    met[met.len() - 1 - met.len() / FAR]
}

/// Sets the scores below which queries are farther, and farthest.
fn part(pushed: &[Probe<'_>], calibration: &mut Calibration) {
    let near = &mut calibration.near;
    let far = falling(pushed.iter().filter(|probe| probe.nearness < near[0]));
    if far.len() >= DEGREES * ENOUGH {
        (1..near.len()).for_each(|degree| near[degree] = far[degree * far.len() / near.len()]);
    }
}

/// The narrowest beams with which probes reach the targets; where none does, the narrowest that finds as much as the widest.
fn needed<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    probes: &[&Probe<'_>],
    calibration: &Calibration,
) -> [u16; TARGETS.len()] {
    let mut found: Vec<(u16, f32)> = Vec::new();
    for ef in BEAMS {
        let recall = recall(plan, walk, probes, ef, calibration);
        found.push((ef as u16, recall));
        if recall >= TARGETS[TARGETS.len() - 1] {
            break;
        }
    }
    let most = found.iter().map(|(_, recall)| *recall).fold(0.0, f32::max);
    let narrowest = |target: f32| found.iter().find(|(_, recall)| *recall >= target.min(most)).map_or(0, |(ef, _)| *ef);
    TARGETS.map(narrowest)
}

/// What scores by one level of codes, and by both, are off.
fn errors<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>) -> (f32, f32) {
    let (nodes, kernel, links) = (plan.nodes.len(), Kernel::best(), plan.links());
    let (mut code, mut rest) = (vec![0; links.code_bytes], vec![0; rest_bytes(plan.rows.dim())]);
    let (mut prepared, mut coarse, mut fine, mut pairs, mut worst) = (Prepared::default(), 0.0f64, 0.0f64, 0, 0.0f32);
    for node in (0..nodes).step_by(nodes.div_ceil(64).max(1)) {
        prepared.prepare(&plan.grid, plan.vector(node as u32));
        prepared.refine();
        for other in (0..nodes).step_by(nodes.div_ceil(128).max(1)) {
            let row = plan.vector(other as u32);
            plan.grid.encode(row, &mut code, &mut rest);
            let product = kernel.int4.dot(prepared.coarse(), &code);
            let truth = dot(plan.vector(node as u32), row);
            coarse += f64::from(prepared.score(product) - truth).powi(2);
            let off = f64::from(prepared.rescore(product, &code, &rest) - truth).abs();
            (fine, worst) = (fine + off * off, worst.max(off as f32));
            pairs += 1;
        }
    }
    let deviation = |squares: f64| (squares / f64::from(pairs.max(1))).sqrt() as f32;
    (SURE_COARSE * deviation(coarse), (SURE * deviation(fine)).max(worst))
}

/// Asks with each of `queries` (and the node to leave out): the true answers are found by scanning all codes and computing the
/// best from their rows.
fn probes<'p, R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    queries: &[(&'p [f32], Option<u32>)],
    spread: f32,
) -> Vec<Probe<'p>> {
    let some = |queries: &[(&'p [f32], Option<u32>)]| {
        let scanned = queries.iter().zip(scan::best(plan, queries));
        scanned.map(|(query, scanned)| probe(plan, walk, *query, &scanned, spread)).collect::<Vec<_>>()
    };
    queries.par_chunks(scan::TOGETHER).flat_map_iter(some).collect()
}

fn probe<'p, R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    (vector, own): (&'p [f32], Option<u32>),
    scanned: &[(f32, u32)],
    spread: f32,
) -> Probe<'p> {
    let mut gaps = [0.0; RANKS];
    for (at, gap) in gaps.iter_mut().enumerate() {
        *gap = scanned[0].0 - scanned[((1 << at) - 1).min(scanned.len() - 1)].0;
    }
    let near = scanned.iter().take(CANDIDATES).map(|(_, node)| (dot(vector, plan.vector(*node)), *node));
    let mut near: Vec<(f32, u32)> = near.collect();
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    near.truncate(K);
    let (nearness, behind) = plan.with_worker(|worker| {
        begin(plan, walk, (vector, own), Rule::fixed(CANDIDATES), worker);
        let _ = (0..LOOK_AFTER).all(|_| walk.step(&mut worker.scratch));
        let prepared = &mut worker.scratch.prepared;
        prepared.sign();
        let worst = near.last().map_or(0.0, |(score, _)| *score);
        let behind = near.iter().map(|(_, node)| worst - prepared.estimate(walk.links.code(*node), spread)).collect();
        (worker.scratch.nearness(), behind)
    });
    Probe { vector, own, nearness, answers: near.iter().map(|(_, node)| *node).collect(), gaps, behind }
}

/// Recall@10 of the probes with one beam.
fn recall<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    probes: &[&Probe<'_>],
    ef: usize,
    calibration: &Calibration,
) -> f32 {
    let found: usize = probes
        .par_iter()
        .map(|probe| plan.with_worker(|worker| found(plan, walk, probe, ef, calibration, worker)))
        .sum();
    let wanted: usize = probes.iter().map(|probe| probe.answers.len()).sum();
    found as f32 / wanted.max(1) as f32
}

/// How many of a probe's answers are in the beam that a search with `ef` ends with: re-scoring finds those.
fn found<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    probe: &Probe<'_>,
    ef: usize,
    calibration: &Calibration,
    worker: &mut Worker,
) -> usize {
    worker.scratch.prepared.prepare(&plan.grid, probe.vector);
    let products = |difference| worker.scratch.prepared.products(difference);
    let rule = Rule::of(K, ef, products(calibration.tolerance(K, ef)), products(calibration.coarse_error));
    begin(plan, walk, (probe.vector, probe.own), rule, worker);
    let scratch = &mut worker.scratch;
    walk.go_on(scratch);
    let mut near: Vec<(f32, u32)> = scratch
        .beam
        .answers()
        .take(CANDIDATES)
        .filter(|(node, _)| Some(*node) != probe.own)
        .map(|(node, _)| (dot(probe.vector, plan.vector(node)), node))
        .collect();
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    near.iter().take(K).filter(|(_, node)| probe.answers.contains(node)).count()
}

/// Takes the first step of a walk for a query that is no neighbour of itself.
fn begin<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    (vector, own): (&[f32], Option<u32>),
    rule: Rule,
    worker: &mut Worker,
) {
    let scratch = &mut worker.scratch;
    scratch.prepared.prepare(&plan.grid, vector);
    scratch.start(walk.links.nodes, rule);
    if let Some(own) = own.filter(|own| *own != plan.entry) {
        scratch.visited.mark(own);
    }
    walk.enter(plan.entry, scratch, |_| true);
}
