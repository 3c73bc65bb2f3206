//! Links between the answers of training queries.
//!
//! Text lies elsewhere than images, and what answers one text need not be near to each other, so a graph over images
//! alone has few ways from one answer to the next. Training queries show them: every two answers of a query are
//! candidates for each other's lists, counted by how often and how high they came together (in the way of RoarGraph,
//! Chen et al. 2024, arXiv:2408.08933). They get slots of their own, so nothing that the rows say is lost. And where a query
//! led is where a walk for one like it starts: some queries become posts.

use rayon::prelude::*;

use super::plan::{Plan, Worker, neighbours};
use super::posts::{self, Post};
use crate::Rows;
use crate::frozen::{END, Rule};

/// Answers of a query that are linked.
const ANSWERS: usize = 10;
/// Posts from which on queries become posts too. Where they are fewer, the right ones are found without help.
const POSTS_MIN: usize = 1024;
/// Width of the beam that finds them.
const BEAM: usize = 48;
/// Queries that a thread looks after at a time.
const CHUNK: usize = 64;
/// Queries whose links are counted together: bounds the memory.
const ROUND: usize = 1 << 20;

/// Links the answers of `training`, and makes posts of some queries; returns how many queries those were. The last of them
/// are left to measure with.
pub(super) fn learn<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, training: &(dyn Rows + Sync)) -> usize {
    let count = training.len() - super::calibrate::left_out(training.len());
    let queries: Vec<u32> = (0..count as u32).collect();
    for round in queries.chunks(ROUND) {
        let chunks = round.par_chunks(CHUNK).map(|chunk| {
            plan.with_worker(|worker| {
                let mut pairs = Vec::with_capacity(chunk.len() * ANSWERS * (ANSWERS - 1));
                for query in chunk {
                    answer(plan, training.row(*query), worker);
                    together(&worker.kept, &mut pairs);
                }
                pairs
            })
        });
        let mut pairs: Vec<(u32, u32, u32)> = chunks.flatten().collect();
        pairs.par_sort_unstable();
        add(plan, &pairs);
    }
    post(plan, training, &queries);
    count
}

/// Into `worker.kept`, best first: the answers of a query, looked for as widely as there are ways to.
fn answer<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, query: &[f32], worker: &mut Worker) {
    let (walk, scratch) = (plan.walk().for_good().far_below(f32::MAX), &mut worker.scratch);
    scratch.prepared.prepare(&plan.grid, query);
    scratch.start(walk.links.nodes, Rule::fixed(BEAM));
    walk.run(plan.entry, scratch);
    worker.kept.clear();
    worker.kept.extend(scratch.beam.answers().take(ANSWERS).map(|(node, _)| node));
}

/// Every two answers of a query: a node, another, and how much that counts.
fn together(answers: &[u32], pairs: &mut Vec<(u32, u32, u32)>) {
    for (rank, one) in answers.iter().enumerate() {
        for (lower, other) in answers.iter().enumerate().skip(rank + 1) {
            let weight = (1000 / (1 + lower)) as u32;
            pairs.extend([(*one, *other, weight), (*other, *one, weight)]);
        }
    }
}

/// Makes posts of as many queries as there are posts of nodes, or of none. With fewer, text was slower than without any: a
/// post that is a query looks near, so no further one is looked for.
fn post<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, training: &(dyn Rows + Sync), queries: &[u32]) {
    let posts = plan.posts.nodes.len();
    if posts < POSTS_MIN || queries.len() < posts {
        return;
    }
    let chosen: Vec<&[f32]> =
        queries.iter().step_by(queries.len().div_ceil(posts)).map(|query| training.row(*query)).collect();
    let led = chosen.par_iter().filter_map(|vector| {
        plan.with_worker(|worker| {
            answer(plan, vector, worker);
            worker.kept.first().map(|node| Post { vector, node: *node })
        })
    });
    let led: Vec<Post<'_>> = led.collect();
    posts::join(plan, led);
}

/// Puts the heaviest of sorted pairs into the free slots of their nodes.
fn add<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, pairs: &[(u32, u32, u32)]) {
    let mut weighed: Vec<(u32, u32)> = Vec::new();
    for of_node in pairs.chunk_by(|a, b| a.0 == b.0) {
        weighed.clear();
        let by_other = of_node.chunk_by(|a, b| a.1 == b.1);
        weighed.extend(by_other.map(|same| (same.iter().map(|pair| pair.2).sum(), same[0].1)));
        weighed.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let start = of_node[0].0 as usize * plan.degree;
        let slots = &mut plan.lists[start..start + plan.degree];
        let mut count = neighbours(slots).count();
        let most = slots.len().min(count + plan.params.learned);
        for (_, other) in &weighed {
            if count == most {
                break;
            }
            if neighbours(slots).all(|near| near != *other) {
                slots[count] = other.to_le_bytes();
                count += 1;
            }
        }
        debug_assert!(slots[count..].iter().all(|slot| *slot == END.to_le_bytes()));
    }
}
