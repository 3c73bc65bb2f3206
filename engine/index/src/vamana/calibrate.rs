//! What a graph can do, measured on some of its own rows, left out one at a time, and on training queries.

use fromagerie_kernels::{Kernel, dot};
use rayon::prelude::*;

use super::plan::{Plan, Worker};
use crate::Rows;
use crate::frozen::{Calibration, KINDS, Prepared, RANKS, Rule, TARGETS, Walk, rest_bytes};

/// Queries of each kind.
const SAMPLE: usize = 160;
/// Answers looked for.
const K: usize = 10;
/// Candidates by codes among which the true answers are looked for.
const CANDIDATES: usize = 64;
/// Ranks whose scores are looked at, at most.
const RANK_MAX: usize = 1 << (RANKS - 1);
/// Beams that are tried, narrowest first.
const BEAMS: [usize; 22] = [2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 512, 1024];
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
    answers: Vec<u32>,
    /// From the best to the scores at ranks 1, 2, 4 ...
    gaps: [f32; RANKS],
}

/// Measures the finished graph.
pub(super) fn calibrate<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    training: Option<&(dyn Rows + Sync)>,
) -> Calibration {
    let nodes = plan.nodes.len();
    let mut calibration = Calibration::default();
    (calibration.coarse_error, calibration.fine_error) = errors(plan);
    if nodes <= K {
        return calibration;
    }
    let own: Vec<u32> = (0..nodes as u32).step_by(nodes.div_ceil(SAMPLE)).collect();
    let own = own.par_iter().map(|node| probe(plan, plan.vector(*node), Some(*node))).collect::<Vec<_>>();
    for (at, gap) in calibration.gaps.iter_mut().enumerate() {
        *gap = own.iter().map(|probe| probe.gaps[at]).sum::<f32>() / own.len() as f32;
    }
    let asked: Vec<_> = training.map_or_else(Vec::new, |training| {
        let (from, count) = (training.len() - left_out(training.len()), training.len());
        (from as u32..count as u32).into_par_iter().map(|row| probe(plan, training.row(row), None)).collect()
    });
    let kinds: [_; KINDS] = [own, asked];
    for (kind, probes) in kinds.iter().enumerate().filter(|(_, probes)| !probes.is_empty()) {
        let walk = plan.walk();
        let recalls = BEAMS.map(|ef| recall(plan, walk, probes, ef, &calibration));
        calibration.beams[kind] =
            TARGETS.map(|target| recalls.iter().position(|recall| *recall >= target).map_or(0, |at| BEAMS[at] as u32));
    }
    calibration
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

/// The true answers of a query, found by scanning all codes and computing the best from their rows.
fn probe<'p, R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, vector: &'p [f32], own: Option<u32>) -> Probe<'p> {
    let (links, kernel) = (plan.links(), Kernel::best());
    let mut prepared = Prepared::default();
    prepared.prepare(&plan.grid, vector);
    let others = (0..links.nodes as u32).filter(|node| Some(*node) != own);
    let mut scored: Vec<(i32, u32)> =
        others.map(|node| (kernel.int4.dot(prepared.coarse(), links.code(node)), node)).collect();
    let ranks = RANK_MAX.min(scored.len());
    if ranks < scored.len() {
        scored.select_nth_unstable_by(ranks, |a, b| b.cmp(a));
    }
    scored.truncate(ranks);
    scored.sort_unstable_by(|a, b| b.cmp(a));
    let mut gaps = [0.0; RANKS];
    for (at, gap) in gaps.iter_mut().enumerate() {
        let rank = scored[((1 << at) - 1).min(ranks - 1)];
        *gap = prepared.score(scored[0].0) - prepared.score(rank.0);
    }
    let near = scored.iter().take(CANDIDATES).map(|(_, node)| (dot(vector, plan.vector(*node)), *node));
    let mut near: Vec<(f32, u32)> = near.collect();
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Probe { vector, own, answers: near.iter().take(K).map(|(_, node)| *node).collect(), gaps }
}

/// Recall@10 of the probes with one beam.
fn recall<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    walk: Walk<'_>,
    probes: &[Probe<'_>],
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
    let scratch = &mut worker.scratch;
    scratch.prepared.prepare(&plan.grid, probe.vector);
    let tolerance = scratch.prepared.products(calibration.tolerance(K, ef));
    scratch.start(walk.links.nodes, Rule::of(K, ef, tolerance, scratch.prepared.products(calibration.coarse_error)));
    if let Some(own) = probe.own.filter(|own| *own != plan.entry) {
        scratch.visited.mark(own);
    }
    walk.run(plan.entry, scratch);
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
