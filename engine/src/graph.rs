//! What the engine adds to a segment that is being made: the graph of its vectors, and the list of its payloads. And
//! how a graph is read again.

use std::sync::Arc;

use fromagerie_index::frozen::{Graph, Kind};
use fromagerie_index::hnsw::{self, HnswParams};
use fromagerie_index::vamana::{self, Known, Part, VamanaParams};
use fromagerie_index::{BuildError, DenseRows, Rows, SearchError};
use fromagerie_storage::{PayloadLister, SegmentBuilder, SegmentView, Source, Task};

use crate::error::Result;
use crate::patience;
use crate::retrieve::Lister;
use crate::settings::IndexKind;
use crate::usage::Usage;

/// Sealed segments with fewer rows get no graph: scanning them is as fast.
const GRAPH_ROWS_MIN: usize = 8192;

/// The graph of a segment, when it has one.
///
/// # Errors
/// Damage; a graph of another version, or of other rows. The vectors are still good.
pub(crate) fn of(segment: &SegmentView) -> Result<Option<Graph<'_>>> {
    let Some(graph) = segment.graph()?.map(Graph::parse).transpose()? else { return Ok(None) };
    let (rows, dim) = (segment.rows() as usize, segment.dim());
    let (graph_rows, graph_dim) = (graph.info().rows, graph.info().dim);
    match (graph_rows, graph_dim) == (rows, dim) {
        true => Ok(Some(graph)),
        false => Err(SearchError::WrongRows { graph_rows, graph_dim, rows, dim }.into()),
    }
}

/// Builds the graph of a segment that is being made, and lists its payloads.
pub(crate) struct GraphBuilder {
    pub(crate) kind: IndexKind,
    /// Whose queries the graph learns from; none for a repair, which has no collection open.
    pub(crate) usage: Option<Arc<Usage>>,
}

impl SegmentBuilder for GraphBuilder {
    fn wants(&self, rows: usize) -> bool {
        self.kind != IndexKind::Flat && rows >= GRAPH_ROWS_MIN
    }

    fn build(&self, vectors: &[f32], dim: usize, sources: &[Source<'_>], task: &mut Task<'_>) -> Option<Vec<u8>> {
        let rows = DenseRows::new(vectors, dim)?;
        let queries = self.usage.as_ref().map(|usage| usage.queries()).unwrap_or_default();
        let queries = DenseRows::new(&queries, dim);
        let built = match task.is_waited_for() {
            true => self.graph(&rows, sources, queries.as_ref(), task),
            false => patience::run(task, |task| self.graph(&rows, sources, queries.as_ref(), task))?,
        };
        match built {
            Ok(graph) => graph,
            Err(BuildError::Stopped) => None,
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

impl GraphBuilder {
    fn graph(
        &self,
        rows: &DenseRows<'_>,
        sources: &[Source<'_>],
        queries: Option<&DenseRows<'_>>,
        task: &mut Task<'_>,
    ) -> Result<Option<Vec<u8>>, BuildError> {
        match self.kind {
            IndexKind::Vamana => {
                let training = queries.map(|queries| queries as &(dyn Rows + Sync));
                let mut goes_on = |share| task.goes_on(share);
                let (graph, places) = largest(sources).unzip();
                let part = graph.as_ref().zip(places.as_deref()).map(|(graph, rows)| Part { graph, rows });
                let known = Known { part, training };
                vamana::build_watched(rows, known, VamanaParams::default(), &mut goes_on).map(Some)
            }
            IndexKind::Hnsw => hnsw::build(rows, HnswParams::default()).map(Some),
            IndexKind::Flat => Ok(None),
        }
    }
}

/// The graph that serves most of the rows, and where its rows are now: what it links stays linked when segments are merged.
fn largest<'s>(sources: &[Source<'s>]) -> Option<(Graph<'s>, Vec<u32>)> {
    let mut sources = sources.to_vec();
    sources.sort_by_key(|source| std::cmp::Reverse(source.live_rows()));
    sources.iter().find_map(|source| {
        let graph = Graph::parse(source.graph()?).ok()?;
        let serves = graph.info().kind == Kind::Vamana;
        serves.then(|| (graph, source.rows()))
    })
}
