//! A graph on its way to bytes: what a builder hands over, and the writing of it.

use rayon::prelude::*;

use super::calibration::Calibration;
use super::format::{Graph, Links};
use super::grid::{Grid, code_bytes, rest_bytes};
use super::header;
use super::info::{ALIGNMENT, END, GraphInfo, HEADER_BYTES, Kind};
use super::posts::ChosenPosts;
use super::signs;
use crate::Rows;

/// Nodes written by one thread at a time.
const CHUNK: usize = 1024;

/// A graph in memory, whose nodes are numbered as the builder met them. See `format` for what the parts mean.
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) beam: usize,
    pub(crate) learned: usize,
    pub(crate) entry: u32,
    pub(crate) degree: usize,
    /// `[nodes, degree]` little-endian words, [`END`] behind the last neighbour.
    pub(crate) lists: Vec<[u8; 4]>,
    /// The row of each node.
    pub(crate) rows: Vec<u32>,
    /// Nodes that stand for more rows than one, with the others, ascending.
    pub(crate) twins: Vec<(u32, Vec<u32>)>,
    pub(crate) grid: Grid<'static>,
    pub(crate) posts: ChosenPosts,
    pub(crate) calibration: Calibration,
}

impl Draft {
    /// Writes the graph with its nodes in `order` (a permutation of them), so that neighbours lie together.
    pub(crate) fn encode<R: Rows + Sync + ?Sized>(&self, rows: &R, order: &[u32]) -> Vec<u8> {
        let (nodes, dim) = (self.rows.len(), rows.dim());
        assert!(order.len() == nodes && self.lists.len() == nodes * self.degree, "a draft with nodes left out");
        let mut place = vec![0; nodes];
        order.iter().enumerate().for_each(|(at, node)| place[*node as usize] = at as u32);
        let mut twins: Vec<(u32, &[u32])> =
            self.twins.iter().map(|(node, rows)| (place[*node as usize], &rows[..])).collect();
        twins.sort_unstable();
        let twin_count = twins.iter().map(|(_, rows)| rows.len()).sum();

        let sizes = [
            4 * dim,
            4 * dim,
            self.posts.centres.len(),
            4 * self.posts.bounds.len(),
            4 * self.posts.nodes.len(),
            self.posts.codes.len(),
            nodes * code_bytes(dim),
            nodes * 4 * self.degree,
            signs::block_count(nodes) * signs::block_bytes(dim),
            nodes * rest_bytes(dim),
            4 * nodes,
            4 * twins.len(),
            4 * twins.len(),
            4 * twin_count,
        ];
        let length = HEADER_BYTES + sizes.iter().map(|size| size.next_multiple_of(ALIGNMENT)).sum::<usize>();
        let info = GraphInfo {
            kind: self.kind,
            degree: self.degree,
            beam: self.beam,
            dim,
            rows: nodes + twin_count,
            nodes,
            entry: place.get(self.entry as usize).copied().unwrap_or(0),
            twins: twin_count,
            learned: self.learned,
            posts: self.posts.nodes.len(),
        };
        let mut out = vec![0; length];
        let (head, mut rest) = out.split_at_mut(HEADER_BYTES);
        head.copy_from_slice(&header::write(
            &info,
            (twins.len(), self.posts.bounds.len()),
            self.grid.width,
            &self.calibration,
            length as u64,
        ));
        let [mean, step, centres, bounds, posts, near, codes, lists, signs, rests, row_of, groups, ends, twin_rows] =
            sizes.map(|size| {
                let (section, after) = std::mem::take(&mut rest).split_at_mut(size.next_multiple_of(ALIGNMENT));
                rest = after;
                &mut section[..size]
            });
        put(mean, self.grid.mean.iter().map(|x| x.to_bits()));
        put(step, self.grid.step.iter().map(|x| x.to_bits()));
        centres.copy_from_slice(&self.posts.centres);
        bounds.copy_from_slice(self.posts.bounds.as_flattened());
        put(posts, self.posts.nodes.iter().map(|node| place[u32::from_le_bytes(*node) as usize]));
        near.copy_from_slice(&self.posts.codes);
        put(row_of, order.iter().map(|node| self.rows[*node as usize]));
        put(groups, twins.iter().map(|(node, _)| *node));
        put(
            ends,
            twins.iter().scan(0, |end, (_, rows)| {
                *end += rows.len() as u32;
                Some(*end)
            }),
        );
        put(twin_rows, twins.iter().flat_map(|(_, rows)| rows.iter().copied()));
        let codes = codes.par_chunks_mut(CHUNK * code_bytes(dim)).zip(rests.par_chunks_mut(CHUNK * rest_bytes(dim)));
        let codes = codes.zip(signs.par_chunks_mut(signs::block_count(CHUNK) * signs::block_bytes(dim)));
        let parts = codes.zip(lists.par_chunks_mut((CHUNK * 4 * self.degree).max(1))).zip(order.par_chunks(CHUNK));
        parts.for_each(|((((codes, rests), signs), lists), order)| {
            let slots = codes.chunks_mut(code_bytes(dim)).zip(rests.chunks_mut(rest_bytes(dim)));
            for (((code, rest), list), node) in slots.zip(lists.chunks_mut(4 * self.degree)).zip(order) {
                self.grid.encode(rows.row(self.rows[*node as usize]), code, rest);
                let near = &self.lists[*node as usize * self.degree..][..self.degree];
                let placed = |near: &[u8; 4]| place.get(u32::from_le_bytes(*near) as usize).copied().unwrap_or(END);
                put(list, near.iter().map(placed));
            }
            let blocks =
                codes.chunks(signs::NODES as usize * code_bytes(dim)).zip(signs.chunks_mut(signs::block_bytes(dim)));
            blocks.for_each(|(codes, block)| signs::write(codes, code_bytes(dim), dim, block));
        });
        assert!(Graph::parse(&out).is_ok(), "a graph was written that cannot be read");
        out
    }
}

fn put(section: &mut [u8], words: impl Iterator<Item = u32>) {
    for (place, word) in section.as_chunks_mut().0.iter_mut().zip(words) {
        *place = word.to_le_bytes();
    }
}

/// The nodes in an order in which neighbours lie together: depth first from the entry, nearest neighbour first.
pub(crate) fn order(links: &Links<'_>, entry: u32) -> Vec<u32> {
    let mut order = Vec::with_capacity(links.nodes);
    let mut placed = vec![false; links.nodes];
    let mut stack = Vec::new();
    for start in std::iter::once(entry).chain(0..links.nodes as u32).filter(|node| (*node as usize) < links.nodes) {
        stack.push(start);
        while let Some(node) = stack.pop() {
            if std::mem::replace(&mut placed[node as usize], true) {
                continue;
            }
            order.push(node);
            let from = stack.len();
            stack.extend(links.list(node).filter(|near| !placed[*near as usize]));
            stack[from..].reverse();
        }
    }
    order
}
