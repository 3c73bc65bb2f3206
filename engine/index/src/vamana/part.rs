//! Some of the rows have a graph already: its links are kept, and the other rows join it.

use rayon::prelude::*;

use super::plan::{Plan, Worker, fill};
use super::twins::Twins;
use crate::Rows;
use crate::frozen::{END, Graph};

/// Nodes whose lists a thread makes at a time.
const CHUNK: usize = 64;
/// Nodes whose lists wait to be written.
const ROUND: usize = 1 << 16;

/// Rows over which a graph was built before.
#[derive(Clone, Copy, Debug)]
pub struct Part<'p> {
    /// That graph. What damage says in it is passed over.
    pub graph: &'p Graph<'p>,
    /// For each of its rows the row that it is now; [`Part::GONE`] for one that is no more.
    pub rows: &'p [u32],
}

impl Part<'_> {
    /// No row.
    pub const GONE: u32 = u32::MAX;
}

/// Gives the nodes of a part the lists that they had; returns which nodes those are: of all, or none when the part has lost
/// so many that what is left of its links leads nowhere, or is too small to begin with.
pub(super) fn keep<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, twins: &Twins, part: Part<'_>) -> Vec<bool> {
    let place = place(plan, twins, part);
    let kept = place.iter().filter(|node| **node != END).count();
    if part.graph.info.dim != plan.rows.dim() || 2 * kept <= place.len() || kept == 0 {
        return Vec::new();
    }
    let mut joined = vec![false; plan.nodes.len()];
    let nodes = (0..).zip(&place).filter(|(_, node)| **node != END);
    let first = nodes.filter(|(_, node)| !std::mem::replace(&mut joined[**node as usize], true));
    let own: Vec<u32> = first.map(|(own, _)| own).collect();
    for round in own.chunks(ROUND) {
        for (own, near) in lists(plan, part, &place, round) {
            let start = place[own as usize] as usize * plan.degree;
            fill(&mut plan.lists[start..start + plan.degree], &near);
        }
    }
    // Walks start where they did: the node in the middle of all need not have joined.
    let entry = place.get(part.graph.info.entry as usize).filter(|node| **node != END);
    plan.entry = *entry.unwrap_or(&place[own[0] as usize]);
    joined
}

/// For each node of the part the node that is now in its place; [`END`] where none is.
fn place<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, twins: &Twins, part: Part<'_>) -> Vec<u32> {
    let node_of = plan.node_of_rows(twins);
    let now = |row: u32| part.rows.get(row as usize).and_then(|now| node_of.get(*now as usize)).copied();
    let place = |node: u32| {
        let rows = part.graph.row_of(node).into_iter().chain(part.graph.twins_of(node));
        rows.filter_map(now).next().unwrap_or(END)
    };
    (0..part.graph.info.nodes as u32).into_par_iter().map(place).collect()
}

/// The lists of some nodes of the part, in nodes of the plan; no longer than growing may make them.
fn lists<R: Rows + Sync + ?Sized>(
    plan: &Plan<'_, R>,
    part: Part<'_>,
    place: &[u32],
    nodes: &[u32],
) -> Vec<(u32, Vec<u32>)> {
    let chunks = nodes.par_chunks(CHUNK).map(|nodes| {
        plan.with_worker(|worker| {
            let list = |own: &u32| {
                neighbours(part, place, *own, worker);
                let near = std::mem::take(&mut worker.kept);
                // What queries taught it is forgotten, or each time that it learns anew lists would grow.
                if near.len() <= plan.grown && part.graph.info.learned == 0 {
                    return (*own, near);
                }
                plan.prune_list(place[*own as usize], near.into_iter(), worker);
                (*own, worker.kept.clone())
            };
            nodes.iter().map(list).collect::<Vec<_>>()
        })
    });
    chunks.flatten().collect()
}

/// The neighbours that a node had and that are still there, into `worker.kept`; for one that is gone those that it had itself.
///
/// Source: Singh et al. 2021, FreshDiskANN (arXiv:2105.09613), Algorithm 4.
fn neighbours(part: Part<'_>, place: &[u32], own: u32, worker: &mut Worker) {
    let near = &mut worker.kept;
    near.clear();
    let mut add = |node: u32| {
        if node != END && node != place[own as usize] && !near.contains(&node) {
            near.push(node);
        }
    };
    for next in part.graph.links.list(own) {
        match place.get(next as usize) {
            Some(&END) => {
                part.graph.links.list(next).filter_map(|beyond| place.get(beyond as usize)).for_each(|node| add(*node));
            }
            Some(&node) => add(node),
            None => {}
        }
    }
}
