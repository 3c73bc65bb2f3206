//! Our side of the comparison with other engines, by its line protocol: `contender build BASE.npy DIR THREADS PARAMS`
//! writes an index, `contender serve DIR PARAMS` maps it and answers what standard input asks for, a line of JSON each.
//!
//! Serving reads nothing but codes and links, where they are mapped. Parameters, all optional: `train` (queries to
//! learn from, `.npy`), `degree`, `beam`, `alpha`, `learned`, `seed`.
#![allow(clippy::print_stdout)]

mod npy;
mod serve;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use fromagerie_index::vamana::{VamanaParams, build};
use fromagerie_index::{DenseRows, Rows};
use npy::Matrix;
use serde::Deserialize;

/// The index's only file.
const GRAPH: &str = "graph.fmg";

/// What a spec may say.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    train: Option<PathBuf>,
    degree: Option<usize>,
    beam: Option<usize>,
    alpha: Option<f32>,
    learned: Option<usize>,
    seed: Option<u64>,
}

impl Params {
    fn vamana(&self) -> VamanaParams {
        let default = VamanaParams::default();
        VamanaParams {
            degree: self.degree.unwrap_or(default.degree),
            beam: self.beam.unwrap_or(default.beam),
            alpha: self.alpha.unwrap_or(default.alpha),
            learned: self.learned.unwrap_or(default.learned),
            seed: self.seed.unwrap_or(default.seed),
        }
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match args[..] {
        ["build", base, dir, threads, params] => {
            build_index(Path::new(base), Path::new(dir), threads.parse()?, &serde_json::from_str(params)?)
        }
        ["serve", dir, params] => {
            let _: Params = serde_json::from_str(params)?;
            serve::serve(&Path::new(dir).join(GRAPH))
        }
        _ => bail!("contender build BASE.npy DIR THREADS PARAMS | contender serve DIR PARAMS"),
    }
}

fn build_index(base: &Path, dir: &Path, threads: usize, params: &Params) -> Result<()> {
    let base = Matrix::read(base)?;
    let training = params.train.as_deref().map(Matrix::read).transpose()?;
    let rows = DenseRows::new(&base.data, base.dim).context("no whole rows")?;
    let training = training.as_ref().and_then(|training| DenseRows::new(&training.data, training.dim));
    let training = training.as_ref().map(|rows| rows as &(dyn Rows + Sync));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let start = Instant::now();
    let graph = pool.install(|| build(&rows, training, params.vamana()))?;
    let build_s = start.elapsed().as_secs_f64();
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join(GRAPH), graph)?;
    let version = concat!("fromagerie ", env!("CARGO_PKG_VERSION"));
    println!("{}", serde_json::json!({ "build_s": build_s, "version": version }));
    Ok(())
}
