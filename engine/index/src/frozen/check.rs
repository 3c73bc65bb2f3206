//! Reading every word of a graph, for `verify`: what `parse` leaves to chance is looked at here.

use super::format::{Graph, GraphError, HEADER_BYTES, Lists, Words};

impl Graph<'_> {
    /// Checks every end, neighbour and twin. Time grows with the graph's bytes; nothing is allocated.
    ///
    /// # Errors
    /// [`GraphError::Damaged`] with the offset of the first word that cannot be right.
    pub fn check(&self) -> Result<(), GraphError> {
        let rows = self.info.rows;
        let mut at = Cursor { offset: (HEADER_BYTES + 8 * self.info.levels) as u64 };
        for (level, layer) in self.layers[..self.info.levels].iter().enumerate() {
            let nodes = if level == 0 { rows } else { layer.rows.len() };
            at.ascending(layer.rows, rows)?;
            at.lists(layer.lists, nodes)?;
        }
        at.ascending(self.groups, rows)?;
        at.lists(self.twins, rows)?;
        let top = self.layers[self.info.levels.max(1) - 1];
        if self.info.levels > 1 && top.position(self.info.entry).is_none() {
            return Err(GraphError::Damaged { offset: 28, what: "entry", value: self.info.entry.into() });
        }
        Ok(())
    }
}

/// Walks the sections in the order they lie in.
struct Cursor {
    offset: u64,
}

impl Cursor {
    fn words(
        &mut self,
        words: Words<'_>,
        what: &'static str,
        mut sound: impl FnMut(u32) -> bool,
    ) -> Result<(), GraphError> {
        for word in words.iter() {
            if !sound(word) {
                return Err(GraphError::Damaged { offset: self.offset, what, value: word.into() });
            }
            self.offset += 4;
        }
        Ok(())
    }

    fn ascending(&mut self, words: Words<'_>, rows: usize) -> Result<(), GraphError> {
        let mut least = 0;
        self.words(words, "a row", |row| {
            let sound = u64::from(row) >= least && (row as usize) < rows;
            least = u64::from(row) + 1;
            sound
        })
    }

    fn lists(&mut self, lists: Lists<'_>, items_below: usize) -> Result<(), GraphError> {
        let (mut last, count) = (0, lists.items.len());
        self.words(lists.ends, "the end of a list", |end| {
            let sound = end >= last && end as usize <= count;
            last = end;
            sound
        })?;
        if last as usize != count {
            return Err(GraphError::Damaged { offset: self.offset - 4, what: "the last end", value: last.into() });
        }
        self.words(lists.items, "a neighbour", |item| (item as usize) < items_below)
    }
}
