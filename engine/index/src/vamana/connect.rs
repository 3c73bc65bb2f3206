//! A way from the entry to every node.
//!
//! When a list overflows and is pruned, a node may end up in nobody's list. It is linked from the nearest node that
//! can be reached and has room, or else from the nearest, in the place of its farthest neighbour.

use super::plan::{Plan, find, neighbours};
use crate::Rows;
use crate::frozen::{END, Rule};

/// Walks over all nodes at most; one is nearly always enough.
const ROUNDS_MAX: usize = 8;

/// Gives every node of the graph a way from the entry.
pub(super) fn connect<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>) {
    for _ in 0..ROUNDS_MAX {
        let lost = lost(plan);
        if lost.is_empty() {
            return;
        }
        for node in lost {
            link(plan, node);
        }
    }
}

/// Nodes to which no way leads.
fn lost<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>) -> Vec<u32> {
    let links = plan.links();
    let mut reached = vec![false; links.nodes];
    let mut stack = Vec::with_capacity(links.nodes);
    stack.extend((links.nodes > 0).then_some(plan.entry));
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut reached[node as usize], true) {
            stack.extend(links.list(node).filter(|near| !reached[*near as usize]));
        }
    }
    (0..links.nodes as u32).filter(|node| !reached[*node as usize]).collect()
}

/// Links a lost node from one that a walk towards it finds.
fn link<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, node: u32) {
    let width = plan.params.beam;
    let rule = Rule::fixed(width);
    let near: Vec<u32> = plan.with_worker(|worker| {
        worker.scratch.prepared.prepare(&plan.grid, plan.vector(node));
        find(worker, plan.walk().for_good(), plan.entry, rule);
        worker.candidates.iter().map(|candidate| candidate.node).filter(|near| *near != node).collect()
    });
    let slots = |near: u32| near as usize * plan.degree..(near as usize + 1) * plan.degree;
    let room = |near: &u32| plan.lists[slots(*near)].iter().position(|slot| *slot == END.to_le_bytes());
    let with_room = near.iter().find_map(|near| Some((*near, room(near)?)));
    let last = |near: &u32| (*near, neighbours(&plan.lists[slots(*near)]).count().saturating_sub(1));
    if let Some((near, slot)) = with_room.or(near.first().map(last)) {
        let at = slots(near).start + slot;
        plan.lists[at] = node.to_le_bytes();
    }
}
