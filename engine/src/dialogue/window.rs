//! What of a conversation still fits the model's context.

use super::context::Atom;
use super::template::Template;

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
}
