//! One directory, one writer: collections, aliases, sessions, and the model that reads for them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fromagerie_models::{Bundle, Device, Model, OnnxModel, Runtime, RuntimeOptions};
use fromagerie_storage::{CollectionSpec, StorageError, Store, StoreOptions, VerifyReport, VerifyStep};
use parking_lot::Mutex;

use crate::collection::{Collection, GraphBuilder, IndexKind, Settings};
use crate::dialogue::session::Sessions;
use crate::error::{Error, Result};
use crate::model::LoadedModel;
use crate::query::Term;

/// Environment variable that names the bundle.
pub const BUNDLE_VARIABLE: &str = "FROMAGERIE_BUNDLE";

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The model's bundle. `None`: `FROMAGERIE_BUNDLE`, or else `bundle/` inside the database.
    pub bundle: Option<PathBuf>,
    /// Make the directory when it does not exist.
    pub create: bool,
    /// Where ONNX Runtime is. `None`: `ORT_DYLIB_PATH`, next to the program, or the repository's cache.
    pub onnxruntime: Option<PathBuf>,
    /// Where the model runs.
    pub device: Device,
    /// Threads of one model call. `None`: the machine's cores.
    pub threads: Option<usize>,
    /// Most heap bytes for keys and values of conversations.
    pub context_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            bundle: None,
            create: true,
            onnxruntime: None,
            device: Device::Cpu,
            threads: None,
            context_bytes_max: 512 << 20,
        }
    }
}

/// How a collection is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewCollection {
    /// Length of the vectors; `None`: the model's.
    pub dim: Option<usize>,
    /// Vectors of no known model.
    pub vectors_only: bool,
    /// How sealed segments are searched.
    pub index: IndexKind,
}

/// A database: one directory. Cheap to clone; clones share everything.
///
/// ```no_run
/// use fromagerie::{Database, Item};
///
/// let db = Database::open("./cellar")?;
/// let photos = db.collection("photos")?;
/// photos.insert(Item::file("cat.jpg").caption("our cat"))?;
/// for hit in photos.search("a cat asleep", 10)? {
///     println!("{:.3}  {}", hit.score, hit.key);
/// }
/// # Ok::<(), fromagerie::Error>(())
/// ```
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    directory: PathBuf,
    options: Options,
    model: OnceLock<Arc<LoadedModel>>,
    /// Held while the model is loaded, so that two callers do not load it twice.
    loading: Mutex<()>,
    sessions: Sessions,
}

impl Database {
    /// Opens the database at `path`, making it when it is not there, with the default [`Options`].
    ///
    /// # Errors
    /// Another process holds it; its files are damaged; it cannot be made.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(path, Options::default())
    }

    /// Opens the database at `path`. The model is loaded when it is first needed; see [`Database::model`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        let directory = path.as_ref().to_owned();
        let store = Store::open(&directory, StoreOptions { create: options.create, ..StoreOptions::default() })?;
        let sessions = Sessions::new(options.context_bytes_max);
        Ok(Database {
            inner: Arc::new(Inner {
                store,
                directory,
                options,
                model: OnceLock::new(),
                loading: Mutex::new(()),
                sessions,
            }),
        })
    }

    /// The same, with a model that the caller made.
    pub fn open_with_model(path: impl AsRef<Path>, options: Options, model: Arc<dyn Model>) -> Result<Database> {
        let db = Database::open_with(path, options)?;
        let loaded = Arc::new(LoadedModel::new(model, "none", "none")?);
        let _ = db.inner.model.set(loaded);
        Ok(db)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// The model, loaded now if it was not.
    ///
    /// # Errors
    /// There is no bundle where it was looked for; the bundle or ONNX Runtime is at fault.
    pub fn model(&self) -> Result<Arc<LoadedModel>> {
        self.model_for("this operation")
    }

    pub(crate) fn model_for(&self, operation: &'static str) -> Result<Arc<LoadedModel>> {
        if let Some(model) = self.inner.model.get() {
            return Ok(model.clone());
        }
        let _loading = self.inner.loading.lock();
        if let Some(model) = self.inner.model.get() {
            return Ok(model.clone());
        }
        let loaded = Arc::new(self.load_model(operation)?);
        Ok(self.inner.model.get_or_init(|| loaded).clone())
    }

    fn load_model(&self, operation: &'static str) -> Result<LoadedModel> {
        let options = &self.inner.options;
        let named = options.bundle.clone().or_else(|| std::env::var_os(BUNDLE_VARIABLE).map(PathBuf::from));
        let directory = match named {
            Some(directory) => directory,
            None => {
                let inside = self.inner.directory.join("bundle");
                if !inside.exists() {
                    return Err(Error::NoModel { operation, tried: inside });
                }
                inside
            }
        };
        load_bundle(&directory, options)
    }

    /// The collection of this name or alias; when there is none, a new one in the model's retrieval space.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        match self.open_collection(name) {
            Err(Error::UnknownCollection { .. }) => self.create_collection(name, NewCollection::default()),
            other => other,
        }
    }

    /// The collection of this name or alias.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`] lists the names there are.
    pub fn open_collection(&self, name: &str) -> Result<Collection> {
        check_name("collection", name)?;
        match self.inner.store.collection(name) {
            Ok(stored) => Collection::new(self.clone(), stored),
            Err(StorageError::UnknownCollection { .. }) => {
                let collections = self.inner.store.collections().into_iter().map(|c| c.name);
                let aliases = self.inner.store.aliases().into_iter().map(|(alias, _)| alias);
                Err(Error::UnknownCollection { name: name.to_owned(), known: collections.chain(aliases).collect() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes an empty collection.
    pub fn create_collection(&self, name: &str, new: NewCollection) -> Result<Collection> {
        check_name("collection", name)?;
        let (dim, space, feature_dim) = if new.vectors_only {
            let dim = new.dim.ok_or(Error::OutOfRange {
                name: "dim",
                value: "absent".to_owned(),
                allowed: "given for a collection of vectors only",
            })?;
            (dim, None, 0)
        } else {
            let loaded = self.model_for("a collection for words and pictures")?;
            let manifest = loaded.model.manifest();
            let dim = manifest.dim();
            if new.dim.is_some_and(|asked| asked != dim) {
                return Err(Error::WrongDim {
                    collection: name.to_owned(),
                    expected: dim,
                    found: new.dim.unwrap_or(0),
                });
            }
            (dim, Some(loaded.model.fingerprint()), 0)
        };
        if !(1..=4096).contains(&dim) {
            return Err(Error::OutOfRange { name: "dim", value: dim.to_string(), allowed: "1 to 4096" });
        }
        let settings = Settings { index: new.index };
        let spec = CollectionSpec { dim: dim as u32, space, feature_dim, settings: settings.to_json() };
        let stored = self.inner.store.create_collection(name, spec)?;
        stored.set_segment_builder(Arc::new(GraphBuilder { kind: new.index }));
        Collection::new(self.clone(), stored)
    }

    /// Every collection, by name.
    pub fn collections(&self) -> Result<Vec<Collection>> {
        self.inner
            .store
            .collections()
            .into_iter()
            .map(|info| Collection::new(self.clone(), self.inner.store.collection(&info.name)?))
            .collect()
    }

    /// Deletes a collection with all its items.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.open_collection(name)?;
        Ok(self.inner.store.drop_collection(name)?)
    }

    /// Points `alias` at `collection`, in one atomic step.
    pub fn set_alias(&self, alias: &str, collection: &str) -> Result<()> {
        check_name("alias", alias)?;
        self.open_collection(collection)?;
        Ok(self.inner.store.set_alias(alias, collection)?)
    }

    /// Every alias with its collection.
    pub fn aliases(&self) -> Vec<(String, String)> {
        self.inner.store.aliases()
    }

    /// Forgets an alias.
    pub fn remove_alias(&self, alias: &str) -> Result<()> {
        Ok(self.inner.store.remove_alias(alias)?)
    }

    /// Reads every live byte and reports all damage; `on_step` is told of progress.
    pub fn verify(&self, on_step: &mut dyn FnMut(&VerifyStep)) -> Result<VerifyReport> {
        Ok(self.inner.store.verify(on_step)?)
    }

    /// The retrieval embedding of words, a picture or a conversation: `[dim]`, unit length.
    ///
    /// # Errors
    /// [`Error::EmptyQuery`] for a vector or a key, which need no model.
    pub fn embed(&self, term: &Term) -> Result<Vec<f32>> {
        let loaded = self.model_for("embedding")?;
        match term {
            Term::Text(text) => loaded.embed_text(text),
            Term::Image(bytes) => loaded.embed_image(bytes),
            Term::Dialogue(turns) => loaded.embed_dialogue(turns, &|key| {
                Err(Error::UnknownKey { collection: String::new(), key: key.to_owned() })
            }),
            Term::File(_) | Term::Vector(_) | Term::Key(_) => {
                Err(Error::EmptyQuery { problem: "only a text, an image or a dialogue can be embedded" })
            }
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn live_sessions(&self) -> &Sessions {
        &self.inner.sessions
    }
}

/// Loads a bundle with no database: what `generate` needs.
pub fn load_bundle(directory: &Path, options: &Options) -> Result<LoadedModel> {
    let bundle = Bundle::open(directory)?;
    let runtime = Runtime::load(RuntimeOptions {
        library: options.onnxruntime.clone(),
        device: options.device,
        intra_threads: options.threads,
    })?;
    let model = Arc::new(OnnxModel::load(&runtime, &bundle)?);
    LoadedModel::new(model, &runtime.device().to_string(), runtime.version())
}

/// Names are part of file paths and of command lines.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if starts_well && is_plain && name.len() <= 64 {
        return Ok(());
    }
    Err(Error::BadName { what, name: name.chars().take(80).collect() })
}
