//! Matrices of `f32` as NumPy writes them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Rows of one length, one after the other.
pub(crate) struct Matrix {
    pub(crate) data: Vec<f32>,
    pub(crate) dim: usize,
}

impl Matrix {
    /// Reads `path`: little-endian `f32`, in C order, two dimensions.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut file =
            BufReader::new(File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?);
        let mut start = [0; 10];
        file.read_exact(&mut start)?;
        ensure!(start.starts_with(b"\x93NUMPY\x01"), "{} is not a NumPy file of version 1", path.display());
        let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
        file.read_exact(&mut header)?;
        let header = String::from_utf8_lossy(&header);
        let sound = header.contains("'<f4'") && header.contains("'fortran_order': False");
        ensure!(sound, "{} is not in C order of little-endian f32", path.display());
        let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).context("no shape")?.0;
        let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        let [rows, dim] = shape[..] else { anyhow::bail!("{} has not two dimensions", path.display()) };
        let mut data = Vec::with_capacity(rows * dim);
        let mut row = vec![0; 4 * dim];
        for _ in 0..rows {
            file.read_exact(&mut row)?;
            data.extend(row.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)));
        }
        Ok(Self { data, dim })
    }
}
