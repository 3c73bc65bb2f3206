//! Vectors from a `.npy` file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use npyz::{DType, NpyFile, Order, TypeChar};

use super::output::UsageError;

/// Largest file that is read: a vector of 4096 doubles fits many times.
const BYTES_MAX: u64 = 1 << 20;

/// Largest file of queries that is read.
const QUERIES_BYTES_MAX: u64 = 8 << 30;

/// The rows of the matrix in `path`.
pub(super) fn read_vectors(path: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let bad = |problem: String| UsageError(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|e| bad(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| bad(e.to_string()))?.len().min(QUERIES_BYTES_MAX);
    let npy = NpyFile::new(BufReader::new(file.take(bytes)))
        .map_err(|e| bad(format!("not a .npy file that can be read: {e}")))?;
    let shape = npy.shape().to_vec();
    let fits = |rows: u64, dim: u64| rows.checked_mul(dim).is_some_and(|values| values <= bytes / 4);
    let &[rows, dim] = &shape[..] else {
        return Err(bad(format!("its shape is {shape:?}; one query a row is wanted, such as [1000, 256]")).into());
    };
    if dim == 0 || !fits(rows, dim) || npy.order() != Order::C {
        return Err(bad(format!("its shape is {shape:?}; [n, dim] in C order, as long as it says, is wanted")).into());
    }
    let values: Vec<f32> = npy.into_vec().map_err(|e| bad(format!("it is not float32, or ends early: {e}")))?;
    Ok(values.chunks_exact(dim as usize).map(<[f32]>::to_vec).collect())
}

/// The one vector in `path`.
pub(super) fn read_vector(path: &Path) -> anyhow::Result<Vec<f32>> {
    let bad = |problem: String| UsageError(format!("{}: {problem}", path.display()));
    let file = File::open(path).map_err(|e| bad(e.to_string()))?;
    let npy = NpyFile::new(BufReader::new(file.take(BYTES_MAX)))
        .map_err(|e| bad(format!("not a .npy file that can be read: {e}")))?;
    let shape = npy.shape().to_vec();
    if shape.iter().filter(|n| **n != 1).count() > 1 || shape.iter().any(|n| *n > BYTES_MAX / 4) {
        return Err(bad(format!("its shape is {shape:?}; one vector is wanted, such as [256]")).into());
    }
    let is_wide = match npy.dtype() {
        DType::Plain(plain) if plain.type_char() == TypeChar::Float => plain.size_field() == 8,
        other => return Err(bad(format!("its type is {}; float32 or float64 is wanted", other.descr())).into()),
    };
    let values: Result<Vec<f32>, _> = if is_wide {
        npy.into_vec::<f64>().map(|values| values.into_iter().map(|v| v as f32).collect())
    } else {
        npy.into_vec::<f32>()
    };
    Ok(values.map_err(|e| bad(format!("it ends early or holds another type: {e}")))?)
}
