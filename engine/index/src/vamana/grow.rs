//! Nodes join in batches: each looks for its neighbours among those before, then all links are given back.

use rayon::prelude::*;

use super::plan::{Plan, fill, find, neighbours};
use super::posts;
use super::random::random;
use crate::frozen::{NODES_PER_POST, Rule};
use crate::{BuildError, Rows};

/// Of all nodes, one in this many joins at a time, at most.
const BATCHES_MIN: usize = 50;
/// Nodes that a thread looks after at a time.
const CHUNK: usize = 32;
/// Lists that a thread gives links back to at a time.
const LISTS: usize = 512;

/// Adds those nodes to a plan that have not `joined` yet; tells `goes_on` after each batch what share of all has.
///
/// # Errors
/// [`BuildError::Stopped`] when that is false.
pub(super) fn grow<R: Rows + Sync + ?Sized>(
    plan: &mut Plan<'_, R>,
    joined: &[bool],
    goes_on: &mut dyn FnMut(f32) -> bool,
) -> Result<(), BuildError> {
    let (order, before) = order(plan, joined);
    let (old, new) = order.split_at(before);
    let most = (order.len() / BATCHES_MIN).max(1);
    // The first to join are a fair sample of all, and from then on whoever looks for its neighbours starts near them: in
    // a large graph a walk from the entry may end among strangers.
    let sample = &old[..old.len() / NODES_PER_POST];
    let first = order.len() / NODES_PER_POST - sample.len();
    plan.posts = posts::of_nodes(plan, sample.iter().copied());
    let (mut joined, mut sampled) = (before, false);
    while joined < order.len() {
        let batch = &order[joined..order.len().min(joined + joined.min(most))];
        if !sampled && joined >= before + first {
            plan.posts = posts::of_nodes(plan, sample.iter().chain(&new[..first]).copied());
            sampled = true;
        }
        let links = look(plan, batch);
        for (from, to) in links.chunk_by(|a, b| a.0 == b.0).map(|list| (list[0].0, list)) {
            let near: Vec<u32> = to.iter().map(|(_, to)| *to).collect();
            let start = from as usize * plan.degree;
            fill(&mut plan.lists[start..start + plan.degree], &near);
        }
        give_back(plan, links);
        joined += batch.len();
        if !goes_on(joined as f32 / order.len() as f32) {
            return Err(BuildError::Stopped);
        }
    }
    Ok(())
}

/// The neighbours that each node of a batch chooses, as pairs of the node and one of them, in the batch's order.
fn look<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, batch: &[u32]) -> Vec<(u32, u32)> {
    let (walk, width) = (plan.walk().for_good(), plan.params.beam.max(plan.params.degree));
    let rule = Rule::fixed(width);
    let chunks = batch.par_chunks(CHUNK).map(|chunk| {
        plan.with_worker(|worker| {
            let mut links = Vec::with_capacity(chunk.len() * plan.params.degree);
            for node in chunk {
                worker.scratch.prepared.prepare(&plan.grid, plan.vector(*node));
                find(worker, walk, plan.entry, rule);
                plan.prune(worker);
                links.extend(worker.kept.iter().map(|near| (*node, *near)));
            }
            links
        })
    });
    chunks.flatten().collect()
}

/// Gives every link its way back; lists that overflow are pruned.
fn give_back<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, mut links: Vec<(u32, u32)>) {
    links.par_sort_unstable_by_key(|(from, to)| (*to, *from));
    let mut lists = std::mem::take(&mut plan.lists);
    // While lists are written nobody walks: pruning needs codes alone.
    let shared = &*plan;
    lists.par_chunks_mut(LISTS * shared.degree).enumerate().for_each(|(chunk, lists)| {
        let first = (chunk * LISTS) as u32;
        let from = links.partition_point(|(_, to)| *to < first);
        let until = links.partition_point(|(_, to)| *to < first.saturating_add(LISTS as u32));
        if from == until {
            return;
        }
        shared.with_worker(|worker| {
            for back in links[from..until].chunk_by(|a, b| a.1 == b.1) {
                let node = back[0].1;
                let start = (node - first) as usize * shared.degree;
                let slots = &mut lists[start..start + shared.grown];
                let count = neighbours(slots).count();
                let new = || back.iter().map(|(from, _)| *from);
                if count + back.len() <= shared.grown {
                    slots[count..].iter_mut().zip(new()).for_each(|(slot, near)| *slot = near.to_le_bytes());
                } else {
                    shared.prune_list(node, neighbours(slots).chain(new()), worker);
                    fill(slots, &worker.kept);
                }
            }
        });
    });
    plan.lists = lists;
}

/// All nodes: those that have joined, or the entry, then the others, both in an order that the seed chooses. And how many
/// have joined.
fn order<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, joined: &[bool]) -> (Vec<u32>, usize) {
    let order = shuffled(plan.nodes.len() as u32, plan.entry, plan.params.seed);
    let (mut old, new): (Vec<u32>, Vec<u32>) =
        order.into_iter().partition(|node| joined.get(*node as usize).is_some_and(|joined| *joined));
    let count = old.len().max(1).min(plan.nodes.len());
    old.extend(new);
    (old, count)
}

/// The entry, then all other nodes in an order that the seed chooses.
fn shuffled(nodes: u32, entry: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..nodes).collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        order.swap(last, (random(&mut state) % (last as u64 + 1)) as usize);
    }
    if let Some(at) = order.iter().position(|node| *node == entry) {
        order.swap(0, at);
    }
    order
}
