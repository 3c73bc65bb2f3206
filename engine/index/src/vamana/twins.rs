//! Equal vectors: one node for all of them, so that they cannot fill each other's lists.

use rayon::prelude::*;

use crate::Rows;

/// Nodes that stand for more rows than one, and the others.
pub(super) type Twins = Vec<(u32, Vec<u32>)>;

/// The row of each node, ascending, and the rows that share the vector of a node's row.
pub(super) fn split<R: Rows + Sync + ?Sized>(rows: &R) -> (Vec<u32>, Twins) {
    let mut by_hash: Vec<(u64, u32)> =
        (0..rows.len() as u32).into_par_iter().map(|row| (hash(rows.row(row)), row)).collect();
    by_hash.par_sort_unstable();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for alike in by_hash.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1) {
        let from = groups.len();
        for (_, row) in alike {
            let same = |group: &&mut Vec<u32>| equal(rows.row(group[0]), rows.row(*row));
            match groups[from..].iter_mut().find(same) {
                Some(group) => group.push(*row),
                None => groups.push(vec![*row]),
            }
        }
    }
    groups.retain(|group| group.len() > 1);
    let mut stands = vec![true; rows.len()];
    groups.iter().flat_map(|group| &group[1..]).for_each(|row| stands[*row as usize] = false);
    let nodes: Vec<u32> = (0..rows.len() as u32).filter(|row| stands[*row as usize]).collect();
    groups.sort_unstable();
    let node_of = |row: u32| nodes.binary_search(&row).map_or(0, |node| node as u32);
    let twins = groups.iter_mut().map(|group| (node_of(group[0]), group.split_off(1))).collect();
    (nodes, twins)
}

/// Equal for equal vectors; for others it does not matter much (a collision costs a comparison).
fn hash(vector: &[f32]) -> u64 {
    let step = |hash: u64, x: &f32| (hash.rotate_left(23) ^ u64::from(bits(x))).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    vector.iter().fold(0, step)
}

fn equal(a: &[f32], b: &[f32]) -> bool {
    a.iter().map(bits).eq(b.iter().map(bits))
}

/// The two zeros are one.
fn bits(x: &f32) -> u32 {
    (x + 0.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DenseRows;

    #[test]
    fn equal_rows_stand_behind_the_first() {
        let data = [1.0, 0.0, 0.6, 0.8, 1.0, -0.0, 0.8, 0.6, 1.0, 0.0, 0.8, 0.6];
        let rows = DenseRows::new(&data, 2).expect("whole rows");
        assert_eq!(split(&rows), (vec![0, 1, 3], vec![(0, vec![2, 4]), (2, vec![5])]));
        let none = DenseRows::new(&[], 2).expect("no rows");
        assert_eq!(split(&none), (vec![], vec![]));
    }
}
