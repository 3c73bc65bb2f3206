//! A way from the entry to every row of layer 0.
//!
//! When a list overflows, `hnsw_rs` drops the farthest neighbour whatever it was good for, and a row may end up in
//! nobody's list. Such a row is linked from the nearest row that can be reached.
//!
//! Giving every link its way back and choosing among too many by the diversity rule was tried here: over 30,000 rows it
//! changed recall@10 by less than 0.006 at any beam, for seven times the time of freezing, so it is not done.

use fromagerie_kernels::Kernel;

use crate::vamana::Lists;

/// Gives every row of the graph a way from the entry; `vectors` has a slice for every row, empty for rows that are
/// not in the graph.
pub(super) fn connect(lists: &mut Lists, vectors: &[&[f32]]) {
    let mut reached = vec![false; vectors.len()];
    let mut queue = Vec::new();
    reach(lists.entry, &lists.near, &mut reached, &mut queue);
    for row in 0..vectors.len() as u32 {
        if !reached[row as usize] && !vectors[row as usize].is_empty() {
            let from = nearest_reached(row, lists, vectors, &reached);
            lists.near[from as usize].push(row);
            reach(row, &lists.near, &mut reached, &mut queue);
        }
    }
}

fn reach(start: u32, near: &[Vec<u32>], reached: &mut [bool], queue: &mut Vec<u32>) {
    queue.push(start);
    reached[start as usize] = true;
    while let Some(row) = queue.pop() {
        for next in &near[row as usize] {
            if !std::mem::replace(&mut reached[*next as usize], true) {
                queue.push(*next);
            }
        }
    }
}

/// A reached row near to `row`: where greedy steps among reached rows end.
fn nearest_reached(row: u32, lists: &Lists, vectors: &[&[f32]], reached: &[bool]) -> u32 {
    let kernel = Kernel::best();
    let score = |other: u32| kernel.dot(vectors[row as usize], vectors[other as usize]);
    let own = lists.near[row as usize].iter().copied().filter(|near| reached[*near as usize]);
    let mut best = own.chain([lists.entry]).map(|near| (score(near), near)).max_by(|a, b| a.0.total_cmp(&b.0));
    let mut at = lists.entry;
    while let Some((to_best, near)) = best {
        at = near;
        let steps = lists.near[near as usize].iter().copied().filter(|near| reached[*near as usize]);
        best = steps
            .map(|near| (score(near), near))
            .filter(|(score, _)| *score > to_best)
            .max_by(|a, b| a.0.total_cmp(&b.0));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_nobody_lists_are_reached() {
        let circle: Vec<[f32; 2]> = (0..8).map(|i| [(i as f32).cos(), (i as f32).sin()]).collect();
        let vectors: Vec<&[f32]> = circle.iter().map(<[f32; 2]>::as_slice).collect();
        let near = vec![vec![1], vec![0], vec![3], vec![2], vec![], vec![], vec![], vec![6]];
        let mut lists = Lists { entry: 0, near };
        connect(&mut lists, &vectors);
        let mut reached = vec![false; 8];
        reach(0, &lists.near, &mut reached, &mut Vec::new());
        assert_eq!(reached, [true; 8]);
    }
}
