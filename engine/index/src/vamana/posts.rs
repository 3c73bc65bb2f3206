//! Where walks start: a sample of the nodes, and of training queries, gathered around centres.

use fromagerie_kernels::{Kernel, normalize};
use rayon::prelude::*;

use super::plan::Plan;
use crate::Rows;
use crate::frozen::{ChosenPosts, POSTS_MIN, code_bytes};

/// Rounds in which centres move to the middle of their posts.
const ROUNDS: usize = 5;
/// Centres at most: the header counts them in 16 bits.
const CENTRES_MAX: usize = 1 << 15;

/// A vector, and the node where a walk for what is near to it starts.
pub(super) struct Post<'v> {
    pub(super) vector: &'v [f32],
    pub(super) node: u32,
}

/// Makes posts of `nodes`, a fair sample of all; none of too few.
pub(super) fn of_nodes<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, nodes: impl Iterator<Item = u32>) -> ChosenPosts {
    let posts: Vec<_> = nodes.map(|node| Post { vector: plan.vector(node), node }).collect();
    gather(plan, &posts)
}

/// Gathers others beside the posts that there are.
pub(super) fn join<R: Rows + Sync + ?Sized>(plan: &mut Plan<'_, R>, others: Vec<Post<'_>>) {
    let nodes = plan.posts.nodes.iter().map(|node| u32::from_le_bytes(*node));
    let mut posts: Vec<_> = nodes.map(|node| Post { vector: plan.vector(node), node }).collect();
    posts.extend(others);
    plan.posts = gather(plan, &posts);
}

fn gather<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, posts: &[Post<'_>]) -> ChosenPosts {
    if posts.len() < POSTS_MIN {
        return ChosenPosts::default();
    }
    // As many as minimise what a search reads: all centres, and the posts of some of them.
    let count = (2 * posts.len().isqrt()).next_multiple_of(4).min(CENTRES_MAX).min(posts.len());
    let (dim, width) = (plan.rows.dim(), code_bytes(plan.rows.dim()));
    let mut centres: Vec<f32> = (0..count).flat_map(|at| posts[at * posts.len() / count].vector).copied().collect();
    let mut nearest = nearest_centres(dim, posts, &centres);
    for _ in 0..ROUNDS {
        settle(dim, posts, &nearest, &mut centres);
        nearest = nearest_centres(dim, posts, &centres);
    }
    let mut chosen = ChosenPosts { centres: vec![0; count * width], code_bytes: width, ..ChosenPosts::default() };
    for (code, centre) in chosen.centres.chunks_exact_mut(width).zip(centres.chunks_exact(dim)) {
        plan.grid.encode(centre, code, &mut []);
    }
    let mut by_centre: Vec<(u32, usize)> = nearest.into_iter().zip(0..).collect();
    by_centre.sort_unstable_by_key(|(centre, at)| (*centre, posts[*at].node, *at));
    for centre in 0..count as u32 {
        let end = by_centre.partition_point(|(of, _)| *of <= centre);
        chosen.bounds.push((end as u32).to_le_bytes());
    }
    chosen.codes.resize(posts.len() * width, 0);
    for ((_, at), code) in by_centre.into_iter().zip(chosen.codes.chunks_exact_mut(width)) {
        chosen.nodes.push(posts[at].node.to_le_bytes());
        plan.grid.encode(posts[at].vector, code, &mut []);
    }
    chosen
}

/// For each post the centre that is nearest to it.
fn nearest_centres(dim: usize, posts: &[Post<'_>], centres: &[f32]) -> Vec<u32> {
    let count = centres.len() / dim;
    let nearest = posts.par_iter().map_init(
        || vec![0.0; count],
        |scores, post| {
            Kernel::best().dot_rows(post.vector, centres, scores);
            (0..).zip(scores).max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(centre, _)| centre)
        },
    );
    nearest.collect()
}

/// Moves each centre to the middle of its posts; one without posts stays.
fn settle(dim: usize, posts: &[Post<'_>], nearest: &[u32], centres: &mut [f32]) {
    let mut sums = vec![0.0; centres.len()];
    for (post, centre) in posts.iter().zip(nearest) {
        let sum = &mut sums[*centre as usize * dim..][..dim];
        sum.iter_mut().zip(post.vector).for_each(|(sum, x)| *sum += x);
    }
    for (centre, sum) in centres.chunks_exact_mut(dim).zip(sums.chunks_exact_mut(dim)) {
        if normalize(sum).is_some() {
            centre.copy_from_slice(sum);
        }
    }
}
