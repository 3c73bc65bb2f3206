//! The model of a database: named by its options, loaded when it is first needed, shared by everything after.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fromagerie_models::{BatchOptions, Bundle, BundleOptions, Device, OnnxModel, Runtime, RuntimeOptions};
use fromagerie_storage::StoreOptions;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::model::LoadedModel;

/// Environment variable that names the bundle.
pub const BUNDLE_VARIABLE: &str = "FROMAGERIE_BUNDLE";

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model's bundle. `None`: `FROMAGERIE_BUNDLE`, or else `bundle/` inside the database.
    pub bundle: Option<PathBuf>,
    /// Make the directory when it does not exist.
    pub create: bool,
    /// Only read, whoever else has the database open: see [`crate::Database::refresh`].
    pub read_only: bool,
    /// The bounds of storage: memory, request ids, merges. Its own `create` is not looked at.
    pub storage: StoreOptions,
    /// Where ONNX Runtime is. `None`: `ORT_DYLIB_PATH`, next to the program, or the repository's cache.
    pub onnxruntime: Option<PathBuf>,
    /// The variant of the bundle's language model. `None`: the bundle's default.
    pub variant: Option<String>,
    /// Most bytes that the bundle's graphs may have. `None`: the machine's memory.
    pub model_bytes_max: Option<u64>,
    /// Where the model runs.
    pub device: Device,
    /// Threads of one model call. `None`: the machine's cores.
    pub threads: Option<usize>,
    /// How the steps of concurrent conversations are brought together.
    pub batch: BatchOptions,
    /// Most heap bytes for keys and values of conversations.
    pub context_bytes_max: usize,
    /// Share of one core that may be spent on repeating a few searches exactly, to know what share of the true hits
    /// searches find ([`crate::Collection::usage`]); 0 for none.
    pub recall_budget: f32,
    /// Rows in memory from which searches walk a graph that grows behind the writes, and do not scan them; 0: never. It
    /// takes about 4.6 KB of heap and a millisecond a row (256 dimensions), so the default is above what is sealed at the
    /// default [`StoreOptions::seal_rows`]: it serves who seals late, and writers that are faster than seals.
    pub memory_graph_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            bundle: None,
            create: true,
            read_only: false,
            storage: StoreOptions::default(),
            onnxruntime: None,
            variant: None,
            model_bytes_max: None,
            device: Device::Cpu,
            threads: None,
            batch: BatchOptions::default(),
            context_bytes_max: 512 << 20,
            recall_budget: 0.01,
            memory_graph_rows: 32_768,
        }
    }
}

/// A place for one model.
pub(crate) struct ModelSlot {
    options: Options,
    /// Where a bundle is looked for when none is named.
    fallback: PathBuf,
    loaded: OnceLock<Arc<LoadedModel>>,
    /// Held while the model is loaded, so that two callers do not load it twice.
    loading: Mutex<()>,
    /// Models of other bundles, which re-indexed collections were made with, by the directory that was named.
    others: Mutex<HashMap<PathBuf, Arc<LoadedModel>>>,
}

impl ModelSlot {
    pub(crate) fn new(options: Options, fallback: PathBuf) -> ModelSlot {
        ModelSlot { options, fallback, loaded: OnceLock::new(), loading: Mutex::new(()), others: Mutex::default() }
    }

    /// The same, with a model that is loaded already.
    pub(crate) fn with(options: Options, fallback: PathBuf, model: LoadedModel) -> ModelSlot {
        ModelSlot { loaded: OnceLock::from(Arc::new(model)), ..ModelSlot::new(options, fallback) }
    }

    /// The model, loaded now if it was not; `operation` is who needs it.
    pub(crate) fn get(&self, operation: &'static str) -> Result<Arc<LoadedModel>> {
        if let Some(model) = self.loaded.get() {
            return Ok(model.clone());
        }
        let _loading = self.loading.lock();
        if let Some(model) = self.loaded.get() {
            return Ok(model.clone());
        }
        let loaded = Arc::new(load_bundle(&self.directory(operation)?, &self.options)?);
        Ok(self.loaded.get_or_init(|| loaded).clone())
    }

    /// The model of another bundle, loaded now if it was not.
    pub(crate) fn load_at(&self, directory: &Path) -> Result<Arc<LoadedModel>> {
        let mut others = self.others.lock();
        if let Some(model) = others.get(directory) {
            return Ok(model.clone());
        }
        let loaded = Arc::new(load_bundle(directory, &self.options)?);
        others.insert(directory.to_owned(), loaded.clone());
        Ok(loaded)
    }

    /// Gives the bundle at `directory` a model that is loaded already.
    pub(crate) fn add(&self, directory: &Path, model: LoadedModel) {
        self.others.lock().insert(directory.to_owned(), Arc::new(model));
    }

    fn directory(&self, operation: &'static str) -> Result<PathBuf> {
        let named = self.options.bundle.clone().or_else(|| std::env::var_os(BUNDLE_VARIABLE).map(PathBuf::from));
        match named {
            Some(directory) => Ok(directory),
            None if self.fallback.exists() => Ok(self.fallback.clone()),
            None => Err(Error::NoModel { operation, tried: self.fallback.clone() }),
        }
    }
}

/// Loads a bundle with no database: what `generate` needs.
pub fn load_bundle(directory: &Path, options: &Options) -> Result<LoadedModel> {
    let choice = BundleOptions { variant: options.variant.clone(), bytes_max: options.model_bytes_max };
    let bundle = Bundle::open_with(directory, &choice)?;
    let runtime = Runtime::load(RuntimeOptions {
        library: options.onnxruntime.clone(),
        device: options.device,
        intra_threads: options.threads,
        batch: options.batch,
    })?;
    let model = Arc::new(OnnxModel::load(&runtime, &bundle)?);
    LoadedModel::new(model, &runtime.device().to_string(), runtime.version())
}
