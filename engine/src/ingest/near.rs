//! Pictures that look alike: groups of items whose vectors are nearly the same.
//!
//! Each item is searched for its nearest others; two that are near enough are of one group, and so is whoever is near
//! either. In segments with a graph the search may miss a few, as every search may.

use std::collections::HashMap;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::query::Query;

/// Others that are looked at for each item.
const NEIGHBOURS: usize = 8;

impl Collection {
    /// Groups of two or more items whose vectors have a cosine of `score_min` or more with another of the group. The
    /// keys of a group are in order, and so are the groups.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] unless `score_min` is above 0 and at most 1; [`Error::Cancelled`].
    pub fn near_duplicates(&self, score_min: f32, cancelled: &dyn Fn() -> bool) -> Result<Vec<Vec<String>>> {
        if !(score_min > 0.0 && score_min <= 1.0) {
            let value = score_min.to_string();
            return Err(Error::OutOfRange { name: "score_min", value, allowed: "above 0 and at most 1" });
        }
        let query = Query { score_min: Some(score_min), ..Query::default() };
        let (snapshot, mut groups) = (self.stored().snapshot(), Groups::default());
        for view in snapshot.segments() {
            for row in (0..view.rows()).filter(|row| view.is_live(*row)) {
                let key = view.key(row)?;
                for hit in self.search_vector((&view.vector(row)?.to_f32(), &[]), &query, NEIGHBOURS, cancelled)?.0 {
                    if hit.key != key {
                        groups.join(key, &hit.key);
                    }
                }
            }
        }
        Ok(groups.sorted())
    }
}

/// Sets of keys; only keys that are in a set with another are kept.
#[derive(Default)]
struct Groups {
    numbers: HashMap<String, usize>,
    /// The number that each number was joined to; its own where it was not.
    parents: Vec<usize>,
}

impl Groups {
    fn join(&mut self, a: &str, b: &str) {
        let (a, b) = (self.number(a), self.number(b));
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    fn number(&mut self, key: &str) -> usize {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.parents.len();
        self.parents.push(number);
        self.numbers.insert(key.to_owned(), number);
        number
    }

    fn root(&mut self, mut number: usize) -> usize {
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    fn sorted(mut self) -> Vec<Vec<String>> {
        let mut by_root: HashMap<usize, Vec<String>> = HashMap::new();
        for (key, number) in std::mem::take(&mut self.numbers) {
            by_root.entry(self.root(number)).or_default().push(key);
        }
        let mut groups: Vec<Vec<String>> = by_root.into_values().collect();
        groups.iter_mut().for_each(|group| group.sort());
        groups.sort();
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_near_either_is_of_the_group() {
        let mut groups = Groups::default();
        for (a, b) in [("b", "a"), ("x", "y"), ("c", "d"), ("d", "a")] {
            groups.join(a, b);
        }
        assert_eq!(groups.sorted(), [vec!["a", "b", "c", "d"], vec!["x", "y"]]);
    }
}
