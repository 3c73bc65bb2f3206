//! Graphs built in one go over rows that are all there: one layer, pruned in the way of Vamana.
//!
//! A node's candidates are what a walk over the graph so far finds; a candidate is kept unless one that was kept
//! before is much nearer to it than the node is (Subramanya et al. 2019, DiskANN); links are given back, and lists
//! that overflow are pruned again. Nodes join in batches that double (Dobson et al. 2023, ParlayANN, arXiv:2305.04359):
//! a batch only reads the graph of those before it, so any number of threads writes the very same bytes.
//!
//! Everything is measured on codes of half a byte an element. `plan` holds what the steps share, `part` keeps the links
//! of a graph that is there, `grow` adds the batches, `prune` chooses, `twins` keeps equal vectors out, `connect` leaves
//! no node without a way to it, `learn` links the answers of training queries, and `calibrate` measures what the graph
//! can do, for queries that `push` makes too, with true answers from `scan`.

mod calibrate;
mod connect;
mod grow;
mod learn;
mod part;
mod plan;
mod posts;
mod prune;
mod push;
mod random;
mod scan;
mod twins;

use crate::build_error::check_unit;
use crate::frozen::{Draft, Kind, NODES_MAX, NODES_PER_POST, order};
use crate::{BuildError, Rows};
pub use part::Part;
use plan::Plan;

/// The share of a build that is done when all nodes have joined, about.
const GROWN: f32 = 0.8;
/// And when it has learned.
const LEARNED: f32 = 0.9;

/// How a graph is built. The same rows, parameters and training queries give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VamanaParams {
    /// Neighbours to which a list is pruned, 2 to 128. A list may grow by half before it is pruned again.
    pub degree: usize,
    /// Width of the beam that looks for candidates: wider is slower to build, and better.
    pub beam: usize,
    /// A candidate is dropped when a kept one is this much nearer to it, in squared distance, than the node is. At 1
    /// lists are shortest; what is above keeps more ways.
    pub alpha: f32,
    /// Neighbours that training queries may add to a list.
    pub learned: usize,
    /// Chooses the order in which nodes join.
    pub seed: u64,
}

impl Default for VamanaParams {
    fn default() -> Self {
        Self { degree: 32, beam: 64, alpha: 1.05, learned: 16, seed: 20_261_121 }
    }
}

/// Builds a graph over all of `rows` and returns its bytes, for [`crate::frozen::Graph::parse`].
///
/// `training`: queries like those to come (text, where rows are images), of unit length; there may be none. Works on
/// rayon's threads. Memory peaks at about the graph's bytes and half as much again, besides `rows`.
///
/// # Errors
/// [`BuildError::WrongM`], [`BuildError::NotUnit`], [`BuildError::WrongDim`], [`BuildError::TooLarge`].
pub fn build<R: Rows + Sync + ?Sized>(
    rows: &R,
    training: Option<&(dyn Rows + Sync)>,
    params: VamanaParams,
) -> Result<Vec<u8>, BuildError> {
    build_watched(rows, Known { training, ..Known::default() }, params, &mut |_| true)
}

/// What a builder may know besides the rows.
#[derive(Clone, Copy, Default)]
pub struct Known<'k> {
    /// A graph over some of the rows, whose links are kept; the others join it.
    pub part: Option<Part<'k>>,
    /// Queries like those to come (text, where rows are images), of unit length.
    pub training: Option<&'k (dyn Rows + Sync)>,
}

/// The same, and tells `goes_on` now and then what share is done, from 0 to 1; when that is false, the build ends.
///
/// # Errors
/// As [`build`], and [`BuildError::Stopped`].
pub fn build_watched<R: Rows + Sync + ?Sized>(
    rows: &R,
    known: Known<'_>,
    params: VamanaParams,
    goes_on: &mut dyn FnMut(f32) -> bool,
) -> Result<Vec<u8>, BuildError> {
    if !(2..=128).contains(&params.degree) {
        return Err(BuildError::WrongM { received: params.degree });
    }
    if rows.len() > NODES_MAX {
        return Err(BuildError::TooLarge { rows: rows.len() });
    }
    (0..rows.len() as u32).try_for_each(|row| check_unit(row, rows.row(row)))?;
    let training = known.training.filter(|training| !training.is_empty());
    if let Some(training) = training
        && training.dim() != rows.dim()
    {
        return Err(BuildError::WrongDim { expected: rows.dim(), received: training.dim() });
    }
    let (nodes, twins) = twins::split(rows);
    let mut plan = Plan::new(rows, nodes, params, training.is_some());
    let joined = known.part.map_or_else(Vec::new, |part| part::keep(&mut plan, &twins, part));
    grow::grow(&mut plan, &joined, &mut |share| goes_on(GROWN * share))?;
    let learned = training.map_or(0, |training| learn::learn(&mut plan, training));
    if !goes_on(LEARNED) {
        return Err(BuildError::Stopped);
    }
    connect::connect(&mut plan);
    Ok(plan.freeze(training, (Kind::Vamana, params.beam), learned, twins))
}

/// Lists that somebody else has made.
#[derive(Debug)]
pub(crate) struct Lists {
    /// The row where searches start.
    pub(crate) entry: u32,
    /// For each row the rows that it links to; empty for a row that another with the same vector stands for.
    pub(crate) near: Vec<Vec<u32>>,
}

/// Writes `lists` over `rows` as a graph of their kind, built with a beam of that width.
///
/// # Errors
/// [`BuildError::TooLarge`].
pub(crate) fn freeze<R: Rows + Sync + ?Sized>(
    rows: &R,
    lists: &Lists,
    built: (Kind, usize),
) -> Result<Vec<u8>, BuildError> {
    if rows.len() > NODES_MAX {
        return Err(BuildError::TooLarge { rows: rows.len() });
    }
    let (nodes, twins) = twins::split(rows);
    let widest = lists.near.iter().map(Vec::len).max().unwrap_or(0);
    let plan = Plan::of(rows, nodes, &twins, lists, widest);
    Ok(plan.freeze(None, built, 0, twins))
}

impl<R: Rows + Sync + ?Sized> Plan<'_, R> {
    /// Measures the finished graph and writes it.
    fn freeze(
        mut self,
        training: Option<&(dyn Rows + Sync)>,
        (kind, beam): (Kind, usize),
        learned: usize,
        twins: twins::Twins,
    ) -> Vec<u8> {
        let order = order(&self.links(), self.entry);
        if self.posts.nodes.is_empty() {
            self.posts = posts::of_nodes(&self, order.iter().step_by(NODES_PER_POST).copied());
        }
        let calibration = calibrate::calibrate(&self, training);
        let Plan { rows, nodes, grid, entry, degree, lists, posts, .. } = self;
        Draft { kind, beam, learned, entry, degree, lists, rows: nodes, twins, grid, posts, calibration }
            .encode(rows, &order)
    }
}
