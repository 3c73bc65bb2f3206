//! What a job is to do: plain values, which are kept with it and come over the wire.

use std::path::PathBuf;

use fromagerie_storage::VectorType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ingest::{FetchOptions, IngestOptions, SourceOptions};
use crate::settings::{IndexKind, Thumbnails};

/// What a job reads, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInput {
    /// Folders, files, and patterns with braces.
    pub sources: Vec<PathBuf>,
    /// How they are read.
    pub source: SourceOptions,
    /// Fetch from private and loopback addresses too.
    pub allow_private_addresses: bool,
    /// Leave out a record whose picture is, byte for byte, that of an earlier one.
    pub skip_duplicates: bool,
    /// The caller vouches that vectors were made by the collection's model.
    pub same_space: bool,
    /// Pictures that are encoded and written together, 1 to 1024.
    pub batch: usize,
}

impl Default for JobInput {
    fn default() -> JobInput {
        JobInput {
            sources: Vec::new(),
            source: SourceOptions::default(),
            allow_private_addresses: false,
            skip_duplicates: false,
            same_space: false,
            batch: 32,
        }
    }
}

impl JobInput {
    pub(super) fn options(&self) -> IngestOptions {
        let private = self.allow_private_addresses;
        IngestOptions {
            batch: self.batch,
            source: self.source.clone(),
            fetch: FetchOptions { allow_private_addresses: private, ..FetchOptions::default() },
            skip_duplicates: self.skip_duplicates,
            same_space: self.same_space,
            ..IngestOptions::default()
        }
    }

    /// With paths that mean the same whoever goes on with the job, wherever they stand.
    pub(super) fn absolute(mut self) -> Result<JobInput> {
        let absolute =
            |path: &PathBuf| std::path::absolute(path).map_err(|source| Error::File { path: path.clone(), source });
        self.sources = self.sources.iter().map(absolute).collect::<Result<_>>()?;
        for path in [&mut self.source.image_root, &mut self.source.captions, &mut self.source.keys] {
            *path = path.as_ref().map(absolute).transpose()?;
        }
        Ok(self)
    }
}

/// Sources into a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IngestJob {
    /// The collection; made when it is not there.
    pub collection: String,
    /// What is read.
    pub input: JobInput,
    /// For a new collection: keep the encoder's features.
    pub features: bool,
    /// For a new collection: the thumbnails to keep.
    pub thumbnails: Thumbnails,
    /// For a new collection: how the elements of its vectors are kept.
    #[serde(with = "crate::settings::vector_type")]
    pub vector_type: VectorType,
    /// At the end, remove items that the sources do not name.
    pub sync: bool,
}

/// A new generation of what an alias names, beside the old one, verified, and swapped in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReindexJob {
    /// The alias to move; made when it is not there.
    pub alias: String,
    /// What is read. Without sources: the items that the alias names now.
    pub input: JobInput,
    /// The model. `None`: the database's.
    pub bundle: Option<PathBuf>,
    /// How sealed segments are searched.
    pub index: IndexKind,
    /// Keep the encoder's features. `None`: as the generation before.
    pub features: Option<bool>,
    /// The thumbnails to keep. `None`: as the generation before.
    pub thumbnails: Option<Thumbnails>,
    /// Records that may be left out; with more the alias does not move.
    pub failures_max: u64,
    /// Least recall@10 against exact search, over a sample.
    pub recall_min: f32,
    /// Build and verify, and leave the alias where it is.
    pub stay: bool,
}

impl Default for ReindexJob {
    fn default() -> ReindexJob {
        ReindexJob {
            alias: String::new(),
            input: JobInput::default(),
            bundle: None,
            index: IndexKind::default(),
            features: None,
            thumbnails: None,
            failures_max: 0,
            recall_min: 0.9,
            stay: false,
        }
    }
}

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Sources into a collection.
    Ingest(IngestJob),
    /// A new generation of an alias.
    Reindex(ReindexJob),
}

impl JobSpec {
    /// A word for the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            JobSpec::Ingest(_) => "ingest",
            JobSpec::Reindex(_) => "reindex",
        }
    }
}
