//! The context as the model reads it: a row of atoms, each one position of the input.
//!
//! Atoms are what prefixes are compared by, so that keys and values that were computed once are not computed
//! again. Nothing here runs the model; see `reply` for that.

use serde::{Deserialize, Serialize};

/// One position of the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Atom {
    /// A token.
    #[serde(rename = "t")]
    Token(u32),
    /// One of the visual tokens of a picture.
    #[serde(rename = "v")]
    Visual {
        /// Index into the conversation's pictures.
        #[serde(rename = "i")]
        image: u32,
        /// Which of its visual tokens.
        #[serde(rename = "s")]
        slot: u16,
    },
}

/// The atoms of picture number `image`, which becomes `count` visual tokens.
pub fn visual(image: u32, count: usize) -> impl Iterator<Item = Atom> {
    (0..count).map(move |slot| Atom::Visual { image, slot: u16::try_from(slot).unwrap_or(u16::MAX) })
}

/// Positions at the start that two contexts share.
pub fn common_prefix(a: &[Atom], b: &[Atom]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_part_where_pictures_differ() {
        let a: Vec<_> = visual(0, 2).chain(visual(1, 2)).collect();
        let b: Vec<_> = visual(0, 2).chain(visual(2, 2)).collect();
        assert_eq!(common_prefix(&a, &b), 2);
        assert_eq!(common_prefix(&a, &a), 4);
    }
}
