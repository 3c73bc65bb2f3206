//! Reading the graph out of `hnsw_rs`, point by point, into a draft of the frozen format.

use std::collections::HashMap;

use hnsw_rs::hnsw::Hnsw;

use super::gap::CosineGap;
use super::twins::Twins;
use super::{HnswParams, connect};
use crate::frozen::{Draft, Kind, UpperLayer};

/// The graph over all rows in `twins`, which are 0..n without a gap.
pub(super) fn draft(graph: &Hnsw<'static, f32, CosineGap>, twins: &Twins, dim: usize, params: HnswParams) -> Draft {
    let rows = twins.count();
    let groups = Groups::new(twins);
    let mut draft = Draft {
        kind: Kind::Hnsw,
        m: params.m as u16,
        ef_construction: params.ef_construction as u32,
        dim: dim as u32,
        entry: 0,
        base: vec![Vec::new(); rows],
        upper: Vec::new(),
        twins: Vec::new(),
    };
    if rows > 0 {
        fill(&mut draft, graph, &groups);
    }
    draft.twins = groups.lists;
    draft
}

fn fill(draft: &mut Draft, graph: &Hnsw<'static, f32, CosineGap>, groups: &Groups) {
    let levels = 1 + usize::from(graph.get_max_level_observed());
    let indexation = graph.get_point_indexation();
    let points: Vec<_> = (0..levels).flat_map(|level| indexation.get_layer_iterator(level)).collect();

    let mut level_of = vec![0; draft.base.len()];
    for point in &points {
        level_of[groups.label(point.get_origin_id())] = usize::from(point.get_point_id().0);
    }
    draft.upper = vec![UpperLayer::new(); levels - 1];
    let mut vectors = vec![&[][..]; draft.base.len()];
    for point in &points {
        let row = groups.label(point.get_origin_id());
        vectors[row] = point.get_v();
        for (level, list) in point.get_neighborhood_id().iter().enumerate().take(level_of[row] + 1) {
            // hnsw_rs also links to points that are not of the layer; from those no way leads on.
            let labels = list.iter().map(|near| groups.label(near.d_id));
            let near = labels.filter(|near| level_of[*near] >= level && *near != row);
            let near = near.map(|near| near as u32).collect();
            match level {
                0 => draft.base[row] = near,
                _ => draft.upper[level - 1].push((row as u32, near)),
            }
        }
    }
    for layer in &mut draft.upper {
        layer.sort_unstable_by_key(|(row, _)| *row);
    }
    let lowest_of_all = points.iter().map(|point| groups.label(point.get_origin_id()) as u32).min();
    let lowest_of_top = draft.upper.last().and_then(|top| top.first()).map(|(row, _)| *row);
    draft.entry = lowest_of_top.or(lowest_of_all).unwrap_or_default();
    connect::connect(draft, &vectors);
}

/// Equal rows under the number of the lowest, whichever of them came first.
struct Groups {
    /// By the row in the graph, where it is not itself the lowest.
    labels: HashMap<u32, u32>,
    lists: Vec<(u32, Vec<u32>)>,
}

impl Groups {
    fn new(twins: &Twins) -> Self {
        let (mut labels, mut lists) = (HashMap::new(), Vec::new());
        for (node, others) in twins.groups() {
            let mut group: Vec<u32> = std::iter::once(node).chain(others.iter().copied()).collect();
            group.sort_unstable();
            labels.insert(node, group[0]);
            lists.push((group[0], group.split_off(1)));
        }
        lists.sort_unstable();
        Self { labels, lists }
    }

    fn label(&self, node: usize) -> usize {
        self.labels.get(&(node as u32)).map_or(node, |label| *label as usize)
    }
}
