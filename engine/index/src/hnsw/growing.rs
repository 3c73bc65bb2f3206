//! A graph in memory that takes rows and answers queries at the same time, from any number of threads.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use hnsw_rs::hnsw::Hnsw;
use parking_lot::{Mutex, RwLock};

use super::gap::CosineGap;
use super::twins::{Claim, Twins};
use super::{HnswParams, extract};
use crate::build_error::check_unit;
use crate::frozen::Kind;
use crate::{BuildError, DenseRows, Neighbor, Query, Rows, SearchError, vamana};

/// Layers that `hnsw_rs` may make.
const LAYERS: usize = 16;

/// A growing graph. Rows are copied into it: about 4.6 KB each at 256 dimensions and `m` of 16.
pub struct Growing {
    dim: usize,
    params: HnswParams,
    graph: Hnsw<'static, f32, CosineGap>,
    twins: Mutex<Twins>,
    /// Inserting reads it, freezing writes it: a graph is frozen with no row half linked.
    gate: RwLock<()>,
    started: AtomicBool,
}

impl Growing {
    /// An empty graph for rows of `dim` elements; `capacity` is a guess.
    ///
    /// # Errors
    /// [`BuildError::WrongM`], and [`BuildError::WrongDim`] for a dimension of 0.
    pub fn new(dim: usize, params: HnswParams, capacity: usize) -> Result<Self, BuildError> {
        let params = params.check()?;
        if dim == 0 {
            return Err(BuildError::WrongDim { expected: 1, received: 0 });
        }
        let graph = Hnsw::new(params.m, capacity.min(1 << 22), LAYERS, params.ef_construction, CosineGap);
        Ok(Self { dim, params, graph, twins: Mutex::default(), gate: RwLock::new(()), started: AtomicBool::new(false) })
    }

    /// Elements in a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.twins.lock().count()
    }

    /// Whether no row has been taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a row. Searches that start after this returns can find it. `row` is the caller's number for it.
    ///
    /// # Errors
    /// [`BuildError::WrongDim`], [`BuildError::NotUnit`], [`BuildError::Repeated`].
    pub fn insert(&self, row: u32, vector: &[f32]) -> Result<(), BuildError> {
        if vector.len() != self.dim {
            return Err(BuildError::WrongDim { expected: self.dim, received: vector.len() });
        }
        check_unit(row, vector)?;
        let _gate = self.gate.read();
        let mut twins = self.twins.lock();
        let first = twins.is_empty();
        match twins.claim(row, vector) {
            Claim::Repeated => return Err(BuildError::Repeated { row }),
            Claim::Twin => return Ok(()),
            Claim::Node => {}
        }
        // Two first rows at once would both find no entry point, and one of them would never be linked.
        let _held = first.then_some(twins);
        self.graph.insert_slice((vector, row as usize));
        self.started.store(true, Ordering::Release);
        Ok(())
    }

    /// Rows near to `query.vector`, best first.
    ///
    /// A filter is applied to what the graph gives, with a beam that doubles until `k` rows pass or every row was
    /// looked at, since `hnsw_rs` loses its way when it filters by itself.
    ///
    /// # Errors
    /// As [`crate::flat::search`].
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Neighbor>, SearchError> {
        query.check_vector(self.dim)?;
        let count = self.len();
        let wanted = query.k.min(count);
        if wanted == 0 || !self.started.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        let mut beam = query.beam(count);
        loop {
            query.check_cancelled()?;
            let found = self.search_with(query, beam, wanted);
            if found.len() >= wanted || beam >= count {
                let good = |hit: &Neighbor| query.is_good_enough(hit.score);
                return Ok(found.into_iter().filter(good).collect());
            }
            beam = beam.saturating_mul(2).min(count);
        }
    }

    fn search_with(&self, query: &Query<'_>, beam: usize, wanted: usize) -> Vec<Neighbor> {
        let near = self.graph.search(query.vector, beam, beam);
        let twins = self.twins.lock();
        let mut found = Vec::with_capacity(beam);
        for hit in near {
            let (row, score) = (hit.d_id as u32, 1.0 - hit.distance);
            let group = std::iter::once(row).chain(twins.of(row).iter().copied());
            found.extend(group.filter(|row| query.allows(*row)).map(|row| Neighbor { row, score }));
        }
        found.sort_unstable();
        found.truncate(wanted);
        found
    }

    /// The graph as bytes for [`crate::frozen::Graph::parse`]. Rows must be numbered from 0 without a gap.
    ///
    /// # Errors
    /// [`BuildError::Missing`], [`BuildError::TooLarge`].
    pub fn freeze(&self) -> Result<Vec<u8>, BuildError> {
        let _gate = self.gate.write();
        let twins = self.twins.lock();
        if let Some(row) = twins.missing() {
            return Err(BuildError::Missing { row });
        }
        let count = twins.count();
        let (data, lists) = extract::extract(&self.graph, &twins, self.dim);
        let rows = DenseRows::new(&data, self.dim).ok_or(BuildError::TooLarge { rows: count })?;
        debug_assert_eq!(rows.len(), count);
        vamana::freeze(&rows, &lists, (Kind::Hnsw, self.params.ef_construction))
    }
}

impl fmt::Debug for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dim, params, .. } = self;
        f.debug_struct("Growing").field("dim", dim).field("params", params).finish_non_exhaustive()
    }
}
