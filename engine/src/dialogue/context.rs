//! The context as the model reads it: a row of atoms, each one position of the input.
//!
//! Atoms are what prefixes are compared by, so that keys and values that were computed once are not computed
//! again. Nothing here runs the model; see `reply` for that.

use serde::{Deserialize, Serialize};

use super::template::Template;

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

/// A context that fits: the preamble, the youngest turns, and the reply's opening.
#[derive(Debug, PartialEq)]
pub struct Window {
    /// What the model reads.
    pub atoms: Vec<Atom>,
    /// Oldest turns that were left out.
    pub forgotten: usize,
}

/// Lays out `turns` (each the atoms of one turn, its prefix and suffix included) for a reply.
///
/// Oldest turns are left out, two at a time so that the user always speaks first, until the context has at
/// most `limit` positions. Returns the number of positions that the shortest context would need when even that does not fit.
pub fn window(template: &Template, turns: &[Vec<Atom>], limit: usize) -> Result<Window, usize> {
    let fixed = template.preamble.len() + template.assistant_prefix.len();
    let mut forgotten = 0;
    loop {
        let length = fixed + turns[forgotten..].iter().map(Vec::len).sum::<usize>();
        if length <= limit {
            break;
        }
        if forgotten + 2 >= turns.len() {
            return Err(length);
        }
        forgotten += 2;
    }
    let mut atoms = template.preamble.clone();
    atoms.extend(turns[forgotten..].iter().flatten());
    atoms.extend(&template.assistant_prefix);
    Ok(Window { atoms, forgotten })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: impl IntoIterator<Item = u32>) -> Vec<Atom> {
        ids.into_iter().map(Atom::Token).collect()
    }

    fn template() -> Template {
        Template {
            preamble: tokens([1, 2]),
            user_prefix: tokens([3]),
            user_suffix: tokens([4]),
            assistant_prefix: tokens([5]),
            assistant_suffix: tokens([6]),
        }
    }

    #[test]
    fn the_oldest_exchange_is_forgotten_first() {
        let turns = vec![tokens([10; 5]), tokens([11; 5]), tokens([12; 5])];
        let all = window(&template(), &turns, 18).unwrap();
        assert_eq!((all.atoms.len(), all.forgotten), (18, 0));
        let tight = window(&template(), &turns, 17).unwrap();
        assert_eq!((tight.atoms.len(), tight.forgotten), (8, 2));
        assert_eq!(tight.atoms, tokens([1, 2, 12, 12, 12, 12, 12, 5]));
    }

    #[test]
    fn a_turn_that_cannot_fit_says_what_it_would_need() {
        let turns = vec![tokens([10; 5]), tokens([11; 5]), tokens([12; 50])];
        assert_eq!(window(&template(), &turns, 20), Err(53));
    }

    #[test]
    fn prefixes_part_where_pictures_differ() {
        let a: Vec<_> = visual(0, 2).chain(visual(1, 2)).collect();
        let b: Vec<_> = visual(0, 2).chain(visual(2, 2)).collect();
        assert_eq!(common_prefix(&a, &b), 2);
        assert_eq!(common_prefix(&a, &a), 4);
    }
}
