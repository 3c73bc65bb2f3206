//! A graph on its way to bytes: what a builder fills in, and the writing of it.

use super::format::{Graph, HEADER_BYTES, Kind, LEVELS_MAX, MAGIC, VERSION};

/// An upper layer: rows, ascending, each with its neighbours (rows of the same layer).
pub(crate) type UpperLayer = Vec<(u32, Vec<u32>)>;

/// A graph in memory. See `format` for what the parts mean.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) m: u16,
    pub(crate) ef_construction: u32,
    pub(crate) dim: u32,
    pub(crate) entry: u32,
    /// Layer 0: for each row its neighbours.
    pub(crate) base: Vec<Vec<u32>>,
    /// Layers from 1 up.
    pub(crate) upper: Vec<UpperLayer>,
    /// Rows that stand for others, ascending, each with those others, ascending.
    pub(crate) twins: Vec<(u32, Vec<u32>)>,
}

impl Draft {
    /// The bytes; `None` when edges or rows exceed what the format counts (`u32`).
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let rows = u32::try_from(self.base.len()).ok()?;
        let levels = if rows == 0 { 0 } else { 1 + self.upper.len() };
        assert!(levels <= LEVELS_MAX, "a builder made {levels} layers");
        let twins: usize = self.twins.iter().map(|(_, twins)| twins.len()).sum();

        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend([self.kind.code(), levels as u8]);
        out.extend(self.m.to_le_bytes());
        out.extend([0; 2]);
        for word in [self.ef_construction, self.dim, rows, self.entry, self.twins.len() as u32, twins as u32] {
            put(&mut out, word);
        }
        out.resize(HEADER_BYTES, 0);

        if levels > 0 {
            put_counts(&mut out, self.base.len(), self.base.iter())?;
            for layer in &self.upper {
                put_counts(&mut out, layer.len(), layer.iter().map(|(_, list)| list))?;
            }
            put_lists(&mut out, self.base.iter());
        }
        for layer in self.upper.iter().take(levels) {
            layer.iter().for_each(|(row, _)| put(&mut out, *row));
            put_lists(&mut out, positions(layer).iter());
        }
        self.twins.iter().for_each(|(row, _)| put(&mut out, *row));
        put_lists(&mut out, self.twins.iter().map(|(_, list)| list));

        let length = out.len() as u64;
        out[40..48].copy_from_slice(&length.to_le_bytes());
        assert!(Graph::parse(&out).is_ok(), "a graph was written that cannot be read");
        Some(out)
    }
}

/// The lists of an upper layer with rows replaced by their positions; a row that is not there is left out.
fn positions(layer: &UpperLayer) -> Vec<Vec<u32>> {
    let position = |row: &u32| layer.binary_search_by_key(row, |(row, _)| *row).ok().map(|at| at as u32);
    layer.iter().map(|(_, list)| list.iter().filter_map(position).collect()).collect()
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend(word.to_le_bytes());
}

fn put_counts<'a>(out: &mut Vec<u8>, nodes: usize, lists: impl Iterator<Item = &'a Vec<u32>>) -> Option<()> {
    put(out, nodes as u32);
    put(out, u32::try_from(lists.map(Vec::len).sum::<usize>()).ok()?);
    Some(())
}

fn put_lists<'a>(out: &mut Vec<u8>, lists: impl Iterator<Item = &'a Vec<u32>> + Clone) {
    let mut end = 0;
    for list in lists.clone() {
        end += list.len() as u32;
        put(out, end);
    }
    lists.flatten().for_each(|item| put(out, *item));
}
