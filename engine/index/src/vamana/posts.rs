//! Where walks start: a sample of the nodes, gathered around centres.

use fromagerie_kernels::{Kernel, normalize};
use rayon::prelude::*;

use super::plan::Plan;
use crate::Rows;
use crate::frozen::{ChosenPosts, POSTS_MIN, code_bytes};

/// Rounds in which centres move to the middle of their posts.
const ROUNDS: usize = 5;
/// Centres at most: the header counts them in 16 bits.
const CENTRES_MAX: usize = 1 << 15;

/// Makes posts of `posts`, a fair sample of all nodes; none of too few.
pub(super) fn gather<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, posts: &[u32]) -> ChosenPosts {
    if posts.len() < POSTS_MIN {
        return ChosenPosts::default();
    }
    // As many as minimise what a search reads: all centres, and the posts of some of them.
    let count = (2 * posts.len().isqrt()).next_multiple_of(4).min(CENTRES_MAX).min(posts.len());
    let (dim, width) = (plan.rows.dim(), code_bytes(plan.rows.dim()));
    let mut centres: Vec<f32> =
        (0..count).flat_map(|at| plan.vector(posts[at * posts.len() / count])).copied().collect();
    let mut nearest = nearest_centres(plan, posts, &centres);
    for _ in 0..ROUNDS {
        settle(plan, posts, &nearest, &mut centres);
        nearest = nearest_centres(plan, posts, &centres);
    }
    let mut chosen = ChosenPosts { centres: vec![0; count * width], code_bytes: width, ..ChosenPosts::default() };
    for (code, centre) in chosen.centres.chunks_exact_mut(width).zip(centres.chunks_exact(dim)) {
        plan.grid.encode(centre, code, &mut []);
    }
    let mut by_centre: Vec<(u32, u32)> = nearest.into_iter().zip(posts.iter().copied()).collect();
    by_centre.sort_unstable();
    for centre in 0..count as u32 {
        let end = by_centre.partition_point(|(of, _)| *of <= centre);
        chosen.bounds.push((end as u32).to_le_bytes());
    }
    let links = plan.links();
    for (_, node) in by_centre {
        chosen.nodes.push(node.to_le_bytes());
        chosen.codes.extend_from_slice(links.code(node));
    }
    chosen
}

/// For each post the centre that is nearest to it.
fn nearest_centres<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, posts: &[u32], centres: &[f32]) -> Vec<u32> {
    let count = centres.len() / plan.rows.dim();
    let nearest = posts.par_iter().map_init(
        || vec![0.0; count],
        |scores, post| {
            Kernel::best().dot_rows(plan.vector(*post), centres, scores);
            (0..).zip(scores).max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(centre, _)| centre)
        },
    );
    nearest.collect()
}

/// Moves each centre to the middle of its posts; one without posts stays.
fn settle<R: Rows + Sync + ?Sized>(plan: &Plan<'_, R>, posts: &[u32], nearest: &[u32], centres: &mut [f32]) {
    let dim = plan.rows.dim();
    let mut sums = vec![0.0; centres.len()];
    for (post, centre) in posts.iter().zip(nearest) {
        let sum = &mut sums[*centre as usize * dim..][..dim];
        sum.iter_mut().zip(plan.vector(*post)).for_each(|(sum, x)| *sum += x);
    }
    for (centre, sum) in centres.chunks_exact_mut(dim).zip(sums.chunks_exact_mut(dim)) {
        if normalize(sum).is_some() {
            centre.copy_from_slice(sum);
        }
    }
}
