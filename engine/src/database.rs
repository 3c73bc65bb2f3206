//! One directory, one writer: collections, aliases, sessions, and the model that reads for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fromagerie_models::Model;
use fromagerie_storage::{CollectionSpec, StorageError, Store, StoreOptions, VectorType};

use crate::collection::Collection;
use crate::dialogue::held::HeldContexts;
use crate::error::{Error, Result};
use crate::jobs::active::ActiveJobs;
use crate::model::LoadedModel;
use crate::model_slot::{ModelSlot, Options};
use crate::name::check_name;
use crate::query::Term;
use crate::settings::{IndexKind, Settings, Thumbnails};
use crate::usage::{QUERIES_KEPT, QUERIES_KEPT_MAX, Usages};

/// How a collection is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewCollection {
    /// Length of the vectors; `None`: the model's.
    pub dim: Option<usize>,
    /// Vectors of no known model.
    pub vectors_only: bool,
    /// How sealed segments are searched.
    pub index: IndexKind,
    /// How the elements of vectors are kept.
    pub vector_type: VectorType,
    /// Vectors of received queries that are kept, from which the next graphs learn, up to 65,536: a fair sample of all that
    /// came, on disk beside the collection. `None`: 4,096. 0: nothing is kept.
    pub queries_kept: Option<u32>,
    /// Keep the encoder's own features, from which another map makes vectors without the pictures.
    pub features: bool,
    /// The thumbnails to keep.
    pub thumbnails: Thumbnails,
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
    models: Arc<ModelSlot>,
    contexts: HeldContexts,
    usages: Arc<Usages>,
    jobs: ActiveJobs,
    read_only: bool,
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
        let fallback = path.as_ref().join("bundle");
        Database::open_slot(path.as_ref(), &options, ModelSlot::new(options.clone(), fallback))
    }

    /// The same, with a model that the caller made.
    pub fn open_with_model(path: impl AsRef<Path>, options: Options, model: Arc<dyn Model>) -> Result<Database> {
        let (fallback, loaded) = (path.as_ref().join("bundle"), LoadedModel::new(model, "none", "none")?);
        Database::open_slot(path.as_ref(), &options, ModelSlot::with(options.clone(), fallback, loaded))
    }

    fn open_slot(path: &Path, options: &Options, models: ModelSlot) -> Result<Database> {
        let storage = StoreOptions { create: options.create, ..options.storage.clone() };
        let store = if options.read_only { Store::open_read_only(path, storage)? } else { Store::open(path, storage)? };
        let contexts = HeldContexts::new(options.context_bytes_max);
        let (jobs, read_only) = (ActiveJobs::default(), options.read_only);
        let usages = Arc::new(Usages::new(options.recall_budget, options.memory_graph_rows));
        let models = Arc::new(models);
        let inner = Inner { store, directory: path.to_owned(), models, contexts, usages, jobs, read_only };
        Ok(Database { inner: Arc::new(inner) })
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
        self.inner.models.get("this operation")
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
        let stored = self.named(name, self.inner.store.collection(name))?;
        self.wrap(stored)
    }

    fn wrap(&self, stored: fromagerie_storage::Collection) -> Result<Collection> {
        Collection::new(self.inner.models.clone(), self.inner.usages.clone(), stored)
    }

    /// What storage found under a name; when there is nothing, the names there are.
    pub(crate) fn named<T>(&self, name: &str, found: std::result::Result<T, StorageError>) -> Result<T> {
        match found {
            Err(StorageError::UnknownCollection { .. }) => {
                let store = &self.inner.store;
                let open = store.collections().into_iter().map(|collection| collection.name);
                let damaged = store.damaged().into_iter().map(|collection| collection.name);
                let aliases = store.aliases().into_iter().map(|(alias, _)| alias);
                Err(Error::UnknownCollection {
                    name: name.to_owned(),
                    known: open.chain(damaged).chain(aliases).collect(),
                })
            }
            other => Ok(other?),
        }
    }

    /// Makes an empty collection.
    pub fn create_collection(&self, name: &str, new: NewCollection) -> Result<Collection> {
        check_name("collection", name)?;
        self.create_with(name, new, Settings::default())
    }

    /// The same, with settings that only a re-index makes.
    pub(crate) fn create_with(&self, name: &str, new: NewCollection, settings: Settings) -> Result<Collection> {
        let mut encoder = None;
        let (dim, space, feature_dim) = if new.vectors_only {
            let dim = new.dim.ok_or(Error::OutOfRange {
                name: "dim",
                value: "absent".to_owned(),
                allowed: "given for a collection of vectors only",
            })?;
            (dim, None, 0)
        } else {
            let loaded = match &settings.bundle {
                Some(bundle) => self.inner.models.load_at(bundle)?,
                None => self.inner.models.get("a collection for words and pictures")?,
            };
            let manifest = loaded.model.manifest();
            let dim = manifest.dim();
            if new.dim.is_some_and(|asked| asked != dim) {
                return Err(Error::WrongDim {
                    collection: name.to_owned(),
                    expected: dim,
                    found: new.dim.unwrap_or(0),
                });
            }
            let feature_dim = if new.features { manifest.vision.feature_dim } else { 0 };
            encoder = loaded.model.encoder_fingerprint().filter(|_| new.features).map(hex::encode);
            (dim, Some(loaded.model.fingerprint()), feature_dim)
        };
        if !(1..=4096).contains(&dim) {
            return Err(Error::OutOfRange { name: "dim", value: dim.to_string(), allowed: "1 to 4096" });
        }
        let queries_kept = new.queries_kept.unwrap_or(QUERIES_KEPT);
        if queries_kept > QUERIES_KEPT_MAX {
            let (name, value) = ("queries_kept", queries_kept.to_string());
            return Err(Error::OutOfRange { name, value, allowed: "0 to 65536" });
        }
        let settings = Settings { index: new.index, queries_kept, thumbnails: new.thumbnails, encoder, ..settings };
        let (dim, vector_type) = (dim as u32, new.vector_type);
        let spec = CollectionSpec { dim, vector_type, space, feature_dim, settings: settings.to_json() };
        let stored = self.inner.store.create_collection(name, spec)?;
        self.wrap(stored)
    }

    /// Every collection, by name.
    pub fn collections(&self) -> Result<Vec<Collection>> {
        self.inner
            .store
            .collections()
            .into_iter()
            .map(|info| self.wrap(self.inner.store.collection(&info.name)?))
            .collect()
    }

    /// Deletes a collection with all its items.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        let id = self.open_collection(name)?.id();
        self.inner.usages.forget(id);
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

    /// The retrieval embedding of words, a picture or a conversation: `[dim]`, unit length.
    ///
    /// # Errors
    /// [`Error::EmptyQuery`] for a vector or a key, which need no model.
    pub fn embed(&self, term: &Term) -> Result<Vec<f32>> {
        let loaded = self.inner.models.get("embedding")?;
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

    pub(crate) fn active_jobs(&self) -> &ActiveJobs {
        &self.inner.jobs
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// Gives the bundle at `directory`, which a re-index may name, a model that the caller made.
    pub fn add_model(&self, directory: impl AsRef<Path>, model: Arc<dyn Model>) -> Result<()> {
        let directory = std::path::absolute(directory.as_ref())
            .map_err(|source| Error::File { path: directory.as_ref().to_owned(), source })?;
        self.inner.models.add(&directory, LoadedModel::new(model, "none", "none")?);
        Ok(())
    }

    pub(crate) fn contexts(&self) -> &HeldContexts {
        &self.inner.contexts
    }
}
