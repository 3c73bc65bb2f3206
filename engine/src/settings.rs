//! How a collection is indexed: what its spec keeps, and the graph of a segment that is being sealed.

use std::sync::Arc;

use fromagerie_index::hnsw::{self, HnswParams};
use fromagerie_index::vamana::{self, VamanaParams};
use fromagerie_index::{BuildError, DenseRows, Rows};
use fromagerie_storage::{PayloadLister, SegmentBuilder};
use serde::{Deserialize, Serialize};

use crate::retrieve::Lister;
use crate::usage::{QUERIES_KEPT, Usage};

/// Sealed segments with fewer rows get no graph: scanning them is as fast.
const GRAPH_ROWS_MIN: usize = 8192;

/// How sealed segments are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// A graph over codes, built in one go, for segments that are too large to scan.
    #[default]
    Vamana,
    /// The same, built by inserting one row after the other: slower to build and to search, kept to compare with.
    Hnsw,
    /// Always an exact scan.
    Flat,
}

/// What the engine keeps in a collection's spec.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) index: IndexKind,
    /// Received queries that are kept, so that graphs learn from them.
    #[serde(default = "queries_kept")]
    pub(crate) queries_kept: u32,
}

/// Collections that were made before there was a choice keep queries, as new ones do.
fn queries_kept() -> u32 {
    QUERIES_KEPT
}

impl Settings {
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Builds the graph of a segment that is being sealed, and lists its payloads.
pub(crate) struct GraphBuilder {
    pub(crate) kind: IndexKind,
    /// Whose queries the graph learns from; none for a repair, which has no collection open.
    pub(crate) usage: Option<Arc<Usage>>,
}

impl SegmentBuilder for GraphBuilder {
    fn wants(&self, rows: usize) -> bool {
        self.kind != IndexKind::Flat && rows >= GRAPH_ROWS_MIN
    }

    fn build(&self, vectors: &[f32], dim: usize) -> Option<Vec<u8>> {
        let rows = DenseRows::new(vectors, dim)?;
        let built: Result<_, BuildError> = match self.kind {
            IndexKind::Vamana => {
                let queries = self.usage.as_ref().map(|usage| usage.queries()).unwrap_or_default();
                let queries = DenseRows::new(&queries, dim);
                let training = queries.as_ref().map(|queries| queries as &(dyn Rows + Sync));
                vamana::build(&rows, training, VamanaParams::default())
            }
            IndexKind::Hnsw => hnsw::build(&rows, HnswParams::default()),
            IndexKind::Flat => return None,
        };
        match built {
            Ok(graph) => Some(graph),
            Err(error) => {
                tracing::warn!(%error, "no graph for this segment: it will be scanned");
                None
            }
        }
    }

    fn payloads(&self) -> Option<Box<dyn PayloadLister>> {
        Some(Box::<Lister>::default())
    }
}
