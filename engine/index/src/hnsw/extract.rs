//! Reading the graph out of `hnsw_rs`, point by point: its lowest layer, and the entry of its highest.

use std::collections::HashMap;

use hnsw_rs::hnsw::Hnsw;

use super::connect;
use super::gap::CosineGap;
use super::twins::Twins;
use crate::vamana::Lists;

/// The rows (`[rows, dim]`) and the lists over all of `twins`, which are 0..n without a gap.
pub(super) fn extract(graph: &Hnsw<'static, f32, CosineGap>, twins: &Twins, dim: usize) -> (Vec<f32>, Lists) {
    let rows = twins.count();
    let groups = Groups::new(twins);
    let indexation = graph.get_point_indexation();
    let levels = if rows == 0 { 0 } else { 1 + usize::from(graph.get_max_level_observed()) };
    let points: Vec<_> = (0..levels).flat_map(|level| indexation.get_layer_iterator(level)).collect();

    let mut vectors = vec![&[][..]; rows];
    let mut lists = Lists { entry: 0, near: vec![Vec::new(); rows] };
    for point in &points {
        let row = groups.label(point.get_origin_id());
        vectors[row] = point.get_v();
        let neighborhood = point.get_neighborhood_id();
        let near = neighborhood.first().into_iter().flatten().map(|near| groups.label(near.d_id));
        lists.near[row] = near.filter(|near| *near != row).map(|near| near as u32).collect();
    }
    let level = |point: usize| points[point].get_point_id().0;
    let label = |point: usize| groups.label(points[point].get_origin_id()) as u32;
    let entry = (0..points.len()).max_by_key(|point| (level(*point), std::cmp::Reverse(label(*point))));
    lists.entry = entry.map_or(0, label);
    if rows > 0 {
        connect::connect(&mut lists, &vectors);
    }

    let mut data = vec![0.0; rows * dim];
    for (row, place) in data.chunks_exact_mut(dim).enumerate() {
        place.copy_from_slice(vectors[groups.leader(row)]);
    }
    (data, lists)
}

/// Equal rows under the number of the lowest, whichever of them came first.
struct Groups {
    /// By the row in the graph, where it is not itself the lowest.
    labels: HashMap<u32, u32>,
    /// By each other row of a group, the lowest.
    leaders: HashMap<u32, u32>,
}

impl Groups {
    fn new(twins: &Twins) -> Self {
        let (mut labels, mut leaders) = (HashMap::new(), HashMap::new());
        for (node, others) in twins.groups() {
            let lowest = others.iter().copied().fold(node, u32::min);
            labels.insert(node, lowest);
            leaders.extend(others.iter().chain([&node]).map(|row| (*row, lowest)));
        }
        Self { labels, leaders }
    }

    fn label(&self, node: usize) -> usize {
        self.labels.get(&(node as u32)).map_or(node, |label| *label as usize)
    }

    fn leader(&self, row: usize) -> usize {
        self.leaders.get(&(row as u32)).map_or(row, |leader| *leader as usize)
    }
}
