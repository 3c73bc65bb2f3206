//! Arguments that say what is read, and how: of `ingest`, `reindex` and `embed`.

use std::path::PathBuf;

use clap::Args;
use fromagerie::{Columns, Format, JobInput, SourceOptions};

/// What is read, and how.
#[derive(Args)]
pub(super) struct InputArgs {
    /// What the sources are, when their names and first bytes do not tell.
    #[arg(long, value_parser = parse_format, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Where the pictures are whose paths a table names; beside the table when not given.
    #[arg(long, value_name = "DIR")]
    image_root: Option<PathBuf>,
    /// For folders: a TSV of file names and captions; `captions.tsv` at the top of a folder is found by itself.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// For .npy: the vectors' keys, a text with one a line or a .npy of texts; NAME.keys.txt is found by itself.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The vectors were made by the collection's model: without this, vectors that do not say so go only into a
    /// collection of vectors alone.
    #[arg(long)]
    same_space: bool,
    /// Fetch pictures from private, loopback, link-local and multicast addresses too.
    #[arg(long)]
    allow_private_addresses: bool,
    /// Leave out a picture that is, byte for byte, an earlier one of this run.
    #[arg(long)]
    skip_duplicates: bool,
    /// Pictures that are encoded and made durable together.
    #[arg(long, default_value_t = 32)]
    batch: usize,
}

impl InputArgs {
    pub(super) fn input(&self, sources: Vec<PathBuf>) -> JobInput {
        let columns = Columns {
            image: self.columns.image_column.clone(),
            caption: self.columns.caption_column.clone(),
            key: self.columns.key_column.clone(),
            vector: self.columns.vector_column.clone(),
        };
        let source = SourceOptions {
            format: self.format,
            columns,
            image_root: self.image_root.clone(),
            captions: self.captions.clone(),
            keys: self.keys.clone(),
            ..SourceOptions::default()
        };
        JobInput {
            sources,
            source,
            allow_private_addresses: self.allow_private_addresses,
            skip_duplicates: self.skip_duplicates,
            same_space: self.same_space,
            batch: self.batch,
        }
    }
}

/// Which columns of a table mean what. Without these, names such as image, url, caption, text, key, vector are known.
#[derive(Args)]
struct ColumnArgs {
    /// The column of pictures: bytes, paths or addresses.
    #[arg(long, value_name = "NAME")]
    image_column: Option<String>,
    /// The column of captions.
    #[arg(long, value_name = "NAME")]
    caption_column: Option<String>,
    /// The column of keys; without one, the picture's path or address.
    #[arg(long, value_name = "NAME")]
    key_column: Option<String>,
    /// The column of vectors.
    #[arg(long, value_name = "NAME")]
    vector_column: Option<String>,
}

fn parse_format(word: &str) -> Result<Format, String> {
    word.parse()
}
