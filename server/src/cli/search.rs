//! `fromagerie search`.

use std::path::PathBuf;

use clap::Args;
use fromagerie::{Hit, Query, Spread, Term};
use serde_json::{Value, json};

use super::filter::FilterArgs;
use super::npy;
use super::{DatabaseArgs, Outcome, Output};

/// Find items by words, a picture, an item or a vector.
///
/// Several together are combined. Neighbours are the nearest by cosine, best first.
#[derive(Args)]
pub(super) struct Search {
    #[command(flatten)]
    database: DatabaseArgs,
    /// A collection or an alias.
    #[arg(long)]
    collection: String,
    #[command(flatten)]
    what: What,
    /// Most hits, 1 to 1000.
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// A key that must not be returned; may be repeated.
    #[arg(long = "exclude", value_name = "KEY")]
    exclude: Vec<String>,
    /// Only hits with at least this score.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    score_min: Option<f32>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    spread: SpreadArgs,
    /// Scan exactly, whatever index there is.
    #[arg(long)]
    exact: bool,
    /// Share of the true hits that the search should find, 0.80 to 0.999; 0.95 when not given.
    #[arg(long, value_name = "SHARE", conflicts_with = "exact")]
    recall: Option<f32>,
    /// Search beside the process that has the database open.
    #[arg(long)]
    read_only: bool,
}

/// How hits are kept apart.
#[derive(Args, Clone, Copy)]
pub(super) struct SpreadArgs {
    /// Leave out what has at least this cosine with a better hit, or with what must not be shown.
    #[arg(long, value_name = "SCORE")]
    near_duplicates: Option<f32>,
    /// How much it counts that a hit is unlike those before it: 0, not at all, to 1, alone.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    diversity: f32,
}

impl SpreadArgs {
    pub(super) fn spread(self) -> Spread {
        Spread { near_duplicates: self.near_duplicates, diversity: self.diversity }
    }
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct What {
    /// Words.
    #[arg(long, value_name = "WORDS")]
    text: Vec<String>,
    /// Words to keep away from.
    #[arg(long, value_name = "WORDS")]
    not_text: Vec<String>,
    /// A picture.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// An item of the collection.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// A vector as NumPy wrote it: one dimension, float32 or float64.
    #[arg(long, value_name = "FILE.npy")]
    vector_file: Vec<PathBuf>,
}

impl Search {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let db = if self.read_only { self.database.open_read_only()? } else { self.database.open(false)? };
        let collection = db.open_collection(&self.collection)?;
        let query = Query {
            terms: self.what.terms()?,
            exclude: self.exclude.into_iter().collect(),
            score_min: self.score_min,
            payload_equals: self.filter.payload_equals(),
            spread: self.spread.spread(),
            exact: self.exact,
            recall: self.recall,
            ..Query::default()
        };
        let (hits, stats) = collection.search_with(&query, self.limit, &|| false)?;
        for hit in &hits {
            let caption = if hit.document.caption.is_empty() { "" } else { "  " };
            output.text(&format!("{:+.3}  {}{caption}{}\n", hit.score, hit.key, hit.document.caption))?;
        }
        if hits.is_empty() {
            output.text("nothing found\n")?;
        }
        output.value(&json!({
            "hits": hits.iter().map(value).collect::<Vec<_>>(),
            "collection": collection.name(),
            "scanned_segments": stats.scanned_segments,
            "graph_segments": stats.graph_segments,
            "degraded_segments": stats.degraded_segments,
        }))?;
        Ok(Outcome::Done)
    }
}

impl What {
    fn terms(self) -> anyhow::Result<Vec<(Term, f32)>> {
        let mut terms: Vec<(Term, f32)> = Vec::new();
        terms.extend(self.text.into_iter().map(|t| (Term::Text(t), 1.0)));
        terms.extend(self.not_text.into_iter().map(|t| (Term::Text(t), -1.0)));
        terms.extend(self.image.into_iter().map(|path| (Term::File(path), 1.0)));
        terms.extend(self.key.into_iter().map(|key| (Term::Key(key), 1.0)));
        for path in self.vector_file {
            terms.push((Term::Vector(npy::read_vector(&path)?), 1.0));
        }
        Ok(terms)
    }
}

/// A hit as JSON, without its thumbnail.
pub(super) fn value(hit: &Hit) -> Value {
    let document = &hit.document;
    json!({
        "key": hit.key, "score": hit.score, "caption": document.caption, "uri": document.uri,
        "width": document.width, "height": document.height, "payload": document.payload,
    })
}
