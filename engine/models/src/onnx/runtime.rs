//! The loaded library: once a process, shared by every model in it.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::logging::LogLevel;
use parking_lot::Mutex;

use super::device::Device;
use super::library::{LibraryError, Places, find};
use super::{cores, reason};
use crate::schedule::BatchOptions;

/// How ONNX Runtime is to be loaded and used.
#[derive(Debug, Clone, Default)]
pub struct RuntimeOptions {
    /// The library; looked for when absent.
    pub library: Option<PathBuf>,
    /// Threads a graph computes with; one for each physical core when absent. At most 256 are used.
    pub intra_threads: Option<usize>,
    /// Where graphs run.
    pub device: Device,
    /// How the steps of concurrent conversations are brought together.
    pub batch: BatchOptions,
}

/// ONNX Runtime, loaded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    loaded: Loaded,
    intra_threads: usize,
    device: Device,
    batch: BatchOptions,
}

#[derive(Debug, Clone)]
struct Loaded {
    environment: Environment,
    path: PathBuf,
    version: Option<String>,
}

/// ONNX Runtime allows one environment a process, and none after that one is gone; so it is kept here for good.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

impl Runtime {
    /// Finds, checks and loads the library; later calls share what the first one loaded.
    ///
    /// After an error it can be called again, with other options or after the cause was mended.
    ///
    /// # Errors
    /// [`LibraryError`], with every place that was looked at and what to do.
    pub fn load(options: RuntimeOptions) -> Result<Self, LibraryError> {
        if options.device != Device::Cpu && !cfg!(feature = "cuda") {
            return Err(LibraryError::DeviceNotBuilt { device: options.device });
        }
        let loaded = load_once(options.library)?;
        let intra_threads = options.intra_threads.unwrap_or_else(cores::physical).clamp(1, 256);
        tracing::debug!(library = %loaded.path.display(), version = loaded.version, intra_threads, device = %options.device, "ONNX Runtime");
        Ok(Self { loaded, intra_threads, device: options.device, batch: options.batch })
    }

    /// The library in use.
    pub fn library_path(&self) -> &Path {
        &self.loaded.path
    }

    /// Its version, such as `1.31.1`; `unknown` for a build that does not tell.
    pub fn version(&self) -> &str {
        self.loaded.version.as_deref().unwrap_or("unknown")
    }

    /// Where graphs run.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Threads a graph computes with.
    pub fn intra_threads(&self) -> usize {
        self.intra_threads
    }

    pub(super) fn batch(&self) -> BatchOptions {
        self.batch
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.loaded.environment
    }
}

fn load_once(library: Option<PathBuf>) -> Result<Loaded, LibraryError> {
    let mut slot = LOADED.lock();
    if let Some(loaded) = slot.as_ref() {
        return match library {
            Some(asked) if !same_file(&asked, &loaded.path) => {
                Err(LibraryError::AlreadyLoaded { loaded: loaded.path.clone(), asked })
            }
            _ => Ok(loaded.clone()),
        };
    }
    let loaded = find(&Places::of_process(library), |path, version| {
        // An absolute path, so that `ort` does not look for it elsewhere.
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let builder = ort::init_from(&path).map_err(|error| reason(&error))?;
        Ok((builder, path, version))
    });
    let (builder, path, version) = loaded?;
    let start = builder.with_name("fromagerie").with_telemetry(false).build();
    let environment = start.map_err(|error| LibraryError::Start { path: path.clone(), why: reason(&error) })?;
    environment.set_log_level(LogLevel::Warning);
    Ok(slot.insert(Loaded { environment, path, version }).clone())
}

fn same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    a == b || (real(a).is_some() && real(a) == real(b))
}
