//! What a caller looks for: one term or several, combined into one vector.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::dialogue::Turn;

/// Most hits that one search returns.
pub const LIMIT_MAX: usize = 1000;

/// One thing to look for.
#[derive(Clone, Debug)]
pub enum Term {
    /// Words.
    Text(String),
    /// The bytes of a picture.
    Image(Vec<u8>),
    /// A picture on disk.
    File(PathBuf),
    /// `[dim]` f32 of any non-zero norm.
    Vector(Vec<f32>),
    /// An item of the collection, which is then not among the hits.
    Key(String),
    /// A conversation, whose `[RET]` state is the query.
    Dialogue(Vec<Turn>),
}

/// A search: terms with weights, and what may be returned.
///
/// The query vector is the weighted sum of the terms' unit vectors, normalised again. A text alone is a query:
///
/// ```
/// use fromagerie::Query;
/// let query = Query::from("a cat asleep").without(["cat-1.jpg"]).minus("a dog");
/// assert_eq!(query.terms.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Terms and their weights; a negative weight searches away from the term.
    pub terms: Vec<(Term, f32)>,
    /// Keys that must not be returned.
    pub exclude: HashSet<String>,
    /// Only hits with at least this cosine.
    pub score_min: Option<f32>,
    /// Only items whose payload has these values at the top level; numbers by what they are worth, so that 1 is 1.0.
    pub payload_equals: Map<String, Value>,
    /// How hits are kept apart; by default they are the nearest, however alike.
    pub spread: Spread,
    /// Scan exactly, whatever index there is.
    pub exact: bool,
    /// Width of the graph's beam; `None` leaves it to `recall`.
    pub ef: Option<usize>,
    /// Share of the true hits that a search should find, 0.80 to 0.999: the beam that reached it when the graph was
    /// built is used, for queries as far from the rows as this one is. `None`: 0.95.
    pub recall: Option<f32>,
}

/// How hits are kept apart from each other. The hits come from the nearest items, ten times as many as are asked for and
/// more where needed; `score` stays the cosine with the query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Items whose cosine with a better hit, or with an item that must not be returned, is at least this (above 0, at most 1)
    /// are left out, and others come in their place: what looks the same is shown once. 0.95 is a beginning.
    pub near_duplicates: Option<f32>,
    /// How much it counts that a hit is unlike those before it: from 0, not at all, to 1, alone. Hits then come in the order
    /// in which they were chosen, by maximal marginal relevance (Carbonell & Goldstein 1998).
    pub diversity: f32,
}

impl Query {
    /// A query of one term.
    pub fn term(term: Term) -> Query {
        Query { terms: vec![(term, 1.0)], ..Query::default() }
    }

    /// The bytes of a picture.
    pub fn image(bytes: Vec<u8>) -> Query {
        Query::term(Term::Image(bytes))
    }

    /// A vector of the collection's dimension.
    pub fn vector(vector: Vec<f32>) -> Query {
        Query::term(Term::Vector(vector))
    }

    /// Items like this one.
    pub fn key(key: impl Into<String>) -> Query {
        Query::term(Term::Key(key.into()))
    }

    /// Towards these words too.
    pub fn plus(mut self, text: impl Into<String>) -> Query {
        self.terms.push((Term::Text(text.into()), 1.0));
        self
    }

    /// Away from these words.
    pub fn minus(mut self, text: impl Into<String>) -> Query {
        self.terms.push((Term::Text(text.into()), -1.0));
        self
    }

    /// Never return these keys.
    pub fn without<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Query {
        self.exclude.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Keep hits apart.
    pub fn spread(mut self, spread: Spread) -> Query {
        self.spread = spread;
        self
    }

    /// Scan exactly.
    pub fn exact(mut self) -> Query {
        self.exact = true;
        self
    }
}

impl From<&str> for Query {
    fn from(text: &str) -> Query {
        Query::term(Term::Text(text.to_owned()))
    }
}

impl From<String> for Query {
    fn from(text: String) -> Query {
        Query::term(Term::Text(text))
    }
}

/// An item that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The item's key.
    pub key: String,
    /// Cosine similarity, -1 to 1; higher is nearer.
    pub score: f32,
    /// What is known of it.
    pub document: crate::item::Document,
}
