//! Reading every word of a graph: what `parse` leaves to chance is looked at here.

use super::format::Graph;
use super::grid;
use super::info::{ALIGNMENT, END, GraphError, HEADER_BYTES};
use super::signs;
use super::words::Words;

impl Graph<'_> {
    /// Checks every neighbour, sign, row, end and twin, and that each row is there once. Time grows with the graph's bytes;
    /// it takes a bit of memory a row.
    ///
    /// # Errors
    /// [`GraphError::Damaged`] with the offset of the first word that cannot be right.
    pub fn check(&self) -> Result<(), GraphError> {
        let (nodes, rows, dim) = (self.info.nodes, self.info.rows, self.info.dim);
        let mut at = Cursor { offset: HEADER_BYTES };
        at.skip(4 * dim);
        at.skip(4 * dim);
        at.skip(self.posts.centres.len());
        let (mut last, count) = (0, self.posts.nodes.len());
        at.words(self.posts.bounds, "a centre's bound", |end| {
            let sound = end >= last && end as usize <= count;
            last = end;
            sound
        })?;
        if last as usize != count {
            return Err(GraphError::Damaged { offset: at.offset as u64, what: "the last bound", value: last.into() });
        }
        at.align();
        at.words(self.posts.nodes, "a post", |node| (node as usize) < nodes)?;
        at.align();
        at.skip(count * grid::code_bytes(dim));
        at.skip(nodes * grid::code_bytes(dim));
        for node in 0..nodes as u32 {
            let mut ended = false;
            at.words(Words::of(self.links.list_bytes(node)), "a neighbour", |near| {
                let sound = if near == END { true } else { !ended && (near as usize) < nodes && near != node };
                ended |= near == END;
                sound
            })?;
        }
        at.align();
        self.check_signs(at.offset)?;
        at.skip(self.signs.blocks.len());
        at.skip(nodes * grid::rest_bytes(dim));
        // As many nodes and twins as rows: where none is met twice, none is missing.
        let mut met = vec![0_u64; rows.div_ceil(64)];
        let mut is_new = |row: u32| {
            let Some(word) = met.get_mut(row as usize / 64) else { return false };
            let bit = 1 << (row % 64);
            let is_new = (row as usize) < rows && *word & bit == 0;
            *word |= bit;
            is_new
        };
        at.words(self.rows, "a node's row", &mut is_new)?;
        at.align();
        let mut least = 0;
        at.words(self.groups, "a group's node", |node| {
            let sound = u64::from(node) >= least && (node as usize) < nodes;
            least = u64::from(node) + 1;
            sound
        })?;
        at.align();
        let (mut last, count) = (0, self.twins.len());
        at.words(self.ends, "the end of a group", |end| {
            let sound = end > last && end as usize <= count;
            last = end;
            sound
        })?;
        if last as usize != count {
            return Err(GraphError::Damaged { offset: at.offset as u64, what: "the last end", value: last.into() });
        }
        at.align();
        at.words(self.twins, "a twin", &mut is_new)
    }

    /// Whether signs are those of the codes.
    fn check_signs(&self, offset: usize) -> Result<(), GraphError> {
        let mut block = vec![0; self.signs.block_bytes];
        for start in (0..self.info.nodes as u32).step_by(signs::NODES as usize) {
            let stop = (start + signs::NODES).min(self.info.nodes as u32);
            signs::write(self.links.codes_of(start..stop), self.links.code_bytes, self.info.dim, &mut block);
            let found = self.signs.blocks_of(start..stop);
            if let Some(at) = found.iter().zip(&block).position(|(found, sound)| found != sound) {
                let (at, value) = ((start / signs::NODES) as usize * block.len() + at, found[at]);
                return Err(GraphError::Damaged {
                    offset: (offset + at) as u64,
                    what: "a byte of signs",
                    value: value.into(),
                });
            }
        }
        Ok(())
    }
}

/// Walks the sections in the order they lie in.
struct Cursor {
    offset: usize,
}

impl Cursor {
    fn skip(&mut self, bytes: usize) {
        self.offset += bytes;
        self.align();
    }

    fn align(&mut self) {
        self.offset = self.offset.next_multiple_of(ALIGNMENT);
    }

    fn words(
        &mut self,
        words: Words<'_>,
        what: &'static str,
        mut sound: impl FnMut(u32) -> bool,
    ) -> Result<(), GraphError> {
        for word in words.iter() {
            if !sound(word) {
                return Err(GraphError::Damaged { offset: self.offset as u64, what, value: word.into() });
            }
            self.offset += 4;
        }
        Ok(())
    }
}
