//! What is repaired in layer 0 between `hnsw_rs` and the bytes.
//!
//! When a list overflows, `hnsw_rs` drops the farthest neighbour whatever it was good for, so long links vanish
//! and some rows end up in nobody's list. Here every link gets its way back, lists that are then too long are cut by
//! the diversity rule (Malkov & Yashunin 2018, Algorithm 4), and rows that still cannot be reached from the entry
//! are linked from the nearest row that can.

use fromagerie_kernels::Kernel;
use rayon::prelude::*;

use crate::frozen::Draft;

/// Repairs layer 0 of `draft`; `vectors` has a slice for every row, empty for rows that are not in the graph.
pub(super) fn mend(draft: &mut Draft, vectors: &[&[f32]]) {
    let width = 2 * usize::from(draft.m);
    add_ways_back(&mut draft.base);
    draft
        .base
        .par_iter_mut()
        .enumerate()
        .for_each(|(row, list)| prune(row as u32, list, width, vectors));
    connect(draft, vectors);
}

fn add_ways_back(lists: &mut [Vec<u32>]) {
    let mut back: Vec<Vec<u32>> = vec![Vec::new(); lists.len()];
    for (row, list) in (0..).zip(lists.iter()) {
        for near in list {
            back[*near as usize].push(row);
        }
    }
    lists.par_iter_mut().zip(back).for_each(|(list, back)| {
        list.extend(back);
        list.sort_unstable();
        list.dedup();
    });
}

/// Sorts a list best first and cuts it to `width`: first those that no kept neighbour is nearer to than the row
/// itself, then, while there is room, the best of the others.
fn prune(row: u32, list: &mut Vec<u32>, width: usize, vectors: &[&[f32]]) {
    let kernel = Kernel::best();
    let score = |a: u32, b: u32| kernel.dot(vectors[a as usize], vectors[b as usize]);
    let mut scored: Vec<(f32, u32)> = list.iter().map(|near| (score(row, *near), *near)).collect();
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    list.clear();
    if scored.len() <= width {
        list.extend(scored.iter().map(|(_, near)| *near));
        return;
    }
    let mut others = Vec::new();
    for (to_row, near) in scored {
        if list.len() == width {
            break;
        }
        if list.iter().all(|kept| score(*kept, near) < to_row) {
            list.push(near);
        } else {
            others.push(near);
        }
    }
    list.extend(others.into_iter().take(width - list.len()));
}

/// Gives every row of the graph a way from the entry.
fn connect(draft: &mut Draft, vectors: &[&[f32]]) {
    let mut reached = vec![false; vectors.len()];
    let mut queue = Vec::new();
    reach(draft.entry, &draft.base, &mut reached, &mut queue);
    for row in 0..vectors.len() as u32 {
        if !reached[row as usize] && !vectors[row as usize].is_empty() {
            let from = nearest_reached(row, draft, vectors, &reached);
            draft.base[from as usize].push(row);
            reach(row, &draft.base, &mut reached, &mut queue);
        }
    }
}

fn reach(start: u32, lists: &[Vec<u32>], reached: &mut [bool], queue: &mut Vec<u32>) {
    queue.push(start);
    reached[start as usize] = true;
    while let Some(row) = queue.pop() {
        for near in &lists[row as usize] {
            if !std::mem::replace(&mut reached[*near as usize], true) {
                queue.push(*near);
            }
        }
    }
}

/// A reached row near to `row`: where greedy steps among reached rows end.
fn nearest_reached(row: u32, draft: &Draft, vectors: &[&[f32]], reached: &[bool]) -> u32 {
    let kernel = Kernel::best();
    let score = |other: u32| kernel.dot(vectors[row as usize], vectors[other as usize]);
    let own = draft.base[row as usize]
        .iter()
        .copied()
        .filter(|near| reached[*near as usize]);
    let mut best = own
        .chain([draft.entry])
        .map(|near| (score(near), near))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let mut at = draft.entry;
    while let Some((to_best, near)) = best {
        at = near;
        let steps = draft.base[near as usize]
            .iter()
            .copied()
            .filter(|near| reached[*near as usize]);
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
    use crate::frozen::Kind;

    fn draft(base: Vec<Vec<u32>>) -> Draft {
        Draft {
            kind: Kind::Hnsw,
            m: 2,
            ef_construction: 9,
            dim: 2,
            entry: 0,
            base,
            upper: vec![],
            twins: vec![],
        }
    }

    #[test]
    fn rows_that_nobody_lists_are_reached() {
        let circle: Vec<[f32; 2]> = (0..8)
            .map(|i| [(i as f32).cos(), (i as f32).sin()])
            .collect();
        let vectors: Vec<&[f32]> = circle.iter().map(<[f32; 2]>::as_slice).collect();
        let mut draft = draft(vec![
            vec![1],
            vec![0],
            vec![3],
            vec![2],
            vec![],
            vec![],
            vec![],
            vec![6],
        ]);
        mend(&mut draft, &vectors);
        let mut reached = vec![false; 8];
        reach(0, &draft.base, &mut reached, &mut Vec::new());
        assert_eq!(reached, [true; 8]);
    }

    #[test]
    fn a_far_neighbour_outlives_near_ones_that_hide_each_other() {
        let angles = [0.0f32, 0.10, 0.11, 0.12, 0.13, -1.0];
        let points: Vec<[f32; 2]> = angles
            .iter()
            .map(|angle| [angle.cos(), angle.sin()])
            .collect();
        let vectors: Vec<&[f32]> = points.iter().map(<[f32; 2]>::as_slice).collect();
        let mut list = vec![1, 2, 3, 4, 5];
        prune(0, &mut list, 2, &vectors);
        assert_eq!(list, [1, 5]);
    }
}
