//! From rows to a frozen graph in one go.

use rayon::prelude::*;

use super::{Growing, HnswParams};
use crate::{BuildError, Rows};

/// Builds a graph over all of `rows` and returns its bytes, for [`crate::frozen::Graph::parse`].
///
/// `hnsw_rs` copies every row, so memory peaks at about 4.6 KB a row (256 dimensions, `m` of 16) besides `rows`.
///
/// # Errors
/// [`BuildError::WrongM`], [`BuildError::NotUnit`], [`BuildError::WrongDim`], [`BuildError::TooLarge`].
pub fn build<R: Rows + Sync + ?Sized>(rows: &R, params: HnswParams) -> Result<Vec<u8>, BuildError> {
    let count = u32::try_from(rows.len()).map_err(|_| BuildError::TooLarge { rows: rows.len() })?;
    let growing = Growing::new(rows.dim(), params, rows.len())?;
    let insert = |row: u32| growing.insert(row, rows.row(row));
    if params.parallel {
        (0..count).into_par_iter().try_for_each(insert)?;
    } else {
        (0..count).try_for_each(insert)?;
    }
    growing.freeze()
}
