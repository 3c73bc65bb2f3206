//! Items of one retrieval space: write, read, search.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use fromagerie_storage::{Batch, CollectionStats, CompactReport, Location, Op, Receipt, Snapshot, VectorType, Watch};

use crate::encoder::EncodedImage;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::GraphBuilder;
use crate::item::{Document, Item, StoredItem, read_file};
use crate::model::LoadedModel;
use crate::model_slot::ModelSlot;
use crate::query::{Hit, LIMIT_MAX, Query, Term};
use crate::retrieve::{self, Ask, SearchStats};
use crate::settings::{IndexKind, Settings, Thumbnails};
use crate::usage::{Usage, UsageStats, Usages};
use crate::vector::{combine, unit};

/// What came of a batch in which some items may be unusable.
#[derive(Debug)]
pub struct Upserted {
    /// Of what was written; `None` when nothing could be.
    pub receipt: Option<Receipt>,
    /// Keys that were left out, and why.
    pub failures: Vec<(String, Error)>,
}

/// A collection. Cheap to clone.
#[derive(Clone)]
pub struct Collection {
    models: Arc<ModelSlot>,
    stored: fromagerie_storage::Collection,
    settings: Arc<Settings>,
    usage: Arc<Usage>,
    // Writes what is known when the last handle goes.
    _usages: Arc<Usages>,
}

impl Collection {
    pub(crate) fn new(
        models: Arc<ModelSlot>,
        usages: Arc<Usages>,
        stored: fromagerie_storage::Collection,
    ) -> Result<Collection> {
        let settings: Settings = serde_json::from_str(&stored.spec().settings).map_err(|e| Error::OtherVersion {
            collection: stored.name().to_owned(),
            problem: format!("its settings are not understood: {e}"),
        })?;
        let usage = usages.of(&stored, settings.queries_kept);
        stored.set_segment_builder(Arc::new(GraphBuilder { kind: settings.index, usage: Some(usage.clone()) }));
        stored.resume_merging();
        Ok(Collection { models, stored, settings: Arc::new(settings), usage, _usages: usages })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.stored.name()
    }

    /// Length of its vectors.
    pub fn dim(&self) -> usize {
        self.stored.spec().dim as usize
    }

    /// Fingerprint of the retrieval space; `None` for vectors of no known model.
    pub fn space(&self) -> Option<[u8; 32]> {
        self.stored.spec().space
    }

    /// How sealed segments are searched.
    pub fn index(&self) -> IndexKind {
        self.settings.index
    }

    /// Length of the encoder's features that are kept beside vectors; 0 when none are.
    pub fn feature_dim(&self) -> usize {
        self.stored.spec().feature_dim as usize
    }

    /// Fingerprint of the encoder that made the features, when it is known.
    pub fn encoder(&self) -> Option<[u8; 32]> {
        self.settings.encoder_fingerprint()
    }

    /// The thumbnails that are kept of pictures.
    pub fn thumbnails(&self) -> Thumbnails {
        self.settings.thumbnails
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn stored(&self) -> &fromagerie_storage::Collection {
        &self.stored
    }

    /// How the elements of its vectors are kept.
    pub fn vector_type(&self) -> VectorType {
        self.stored.spec().vector_type
    }

    /// Live items.
    pub fn len(&self) -> usize {
        self.stored.snapshot().len()
    }

    /// True without live items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sealed segments.
    pub fn sealed_segments(&self) -> usize {
        self.stored.snapshot().segments().iter().filter(|s| s.is_sealed()).count()
    }

    /// Writes one item, durably.
    pub fn insert(&self, item: Item) -> Result<Receipt> {
        self.insert_many(vec![item], None)
    }

    /// Writes items as one durable batch: all or none. A batch whose `request_id` was seen before is not
    /// written again, and gets the first one's receipt.
    pub fn insert_many(&self, items: Vec<Item>, request_id: Option<String>) -> Result<Receipt> {
        let prepared = items.into_iter().map(|item| self.prepare(item)).collect::<Result<_>>()?;
        self.write(prepared, request_id)
    }

    /// Writes what can be written as one durable batch, and says of each other item why it was left out.
    ///
    /// # Errors
    /// What is no single item's fault: no model, another space, a full disk.
    pub fn upsert(&self, items: Vec<Item>, request_id: Option<String>) -> Result<Upserted> {
        let (mut prepared, mut failures) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let key = item.key.clone();
            match self.prepare(item) {
                Ok(one) => prepared.push(one),
                Err(error) if error.kind() == ErrorKind::InvalidArgument => failures.push((key, error)),
                Err(error) => return Err(error),
            }
        }
        let receipt = if prepared.is_empty() { None } else { Some(self.write(prepared, request_id)?) };
        Ok(Upserted { receipt, failures })
    }

    /// Deletes items, durably. Keys that are not there are no error.
    pub fn delete<K: Into<String>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        request_id: Option<String>,
    ) -> Result<Receipt> {
        let ops = keys.into_iter().map(|key| Op::Delete { key: key.into() }).collect();
        Ok(self.stored.write(Batch { ops, request_id })?)
    }

    /// The item under `key`.
    pub fn get(&self, key: &str) -> Result<Option<StoredItem>> {
        let snapshot = self.stored.snapshot();
        read_item(&snapshot, key)
    }

    /// The item under `key`.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] when there is none.
    pub fn require(&self, key: &str) -> Result<StoredItem> {
        self.get(key)?.ok_or_else(|| self.unknown_key(key))
    }

    /// The best `limit` items for a text or any other [`Query`], best first.
    pub fn search(&self, query: impl Into<Query>, limit: usize) -> Result<Vec<Hit>> {
        Ok(self.search_with(&query.into(), limit, &|| false)?.0)
    }

    /// The same, with what it cost, and given up as soon as `cancelled` turns true.
    pub fn search_with(
        &self,
        query: &Query,
        limit: usize,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Vec<Hit>, SearchStats)> {
        let vector = self.query_vector(query)?;
        self.search_vector((&vector, &[]), query, limit, cancelled)
    }

    /// Many searches, each with its limit, of the collection as it is now, on all cores; answers in the order of the queries.
    ///
    /// # Errors
    /// What is wrong with the first query that cannot be answered: none is then.
    pub fn search_batch(
        &self,
        queries: &[(Query, usize)],
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<(Vec<Hit>, SearchStats)>> {
        let snapshot = self.stored.snapshot();
        let numbered = |(number, error)| Error::InBatch { number, error: Box::new(error) };
        let asked = queries.iter().enumerate();
        let vectors = asked.map(|(number, (query, _))| self.query_vector(query).map_err(|e| numbered((number, e))));
        let vectors = vectors.collect::<Result<Vec<_>>>()?;
        let asked = queries.par_iter().zip(&vectors).enumerate();
        let searched = asked.map(|(number, ((query, limit), vector))| {
            self.search_snapshot(&snapshot, (vector, &[]), (query, *limit), &|| cancelled())
                .map_err(|error| numbered((number, error)))
        });
        searched.collect()
    }

    /// Searches with `vector` (`[dim]`, unit length) in the place of the query's terms. What nearly duplicates one of `unlike`
    /// (unit length too) is left out where the query leaves near duplicates out.
    pub(crate) fn search_vector(
        &self,
        (vector, unlike): (&[f32], &[Vec<f32>]),
        query: &Query,
        limit: usize,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Vec<Hit>, SearchStats)> {
        self.search_snapshot(&self.stored.snapshot(), (vector, unlike), (query, limit), cancelled)
    }

    fn search_snapshot(
        &self,
        snapshot: &Snapshot,
        (vector, unlike): (&[f32], &[Vec<f32>]),
        (query, limit): (&Query, usize),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(Vec<Hit>, SearchStats)> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::OutOfRange { name: "limit", value: limit.to_string(), allowed: "1 to 1000" });
        }
        if let Some(recall) = query.recall.filter(|recall| !(0.8..=0.999).contains(recall)) {
            return Err(Error::OutOfRange { name: "recall", value: recall.to_string(), allowed: "0.8 to 0.999" });
        }
        if let Some(least) = query.score_min.filter(|least| !(-1.0..=1.0).contains(least)) {
            return Err(Error::OutOfRange { name: "score_min", value: least.to_string(), allowed: "-1 to 1" });
        }
        query.spread.check()?;
        let exact = query.exact || self.settings.index == IndexKind::Flat;
        let ask = Ask { vector, unlike, limit, query, exact, cancelled, memory: Some(self.usage.memory()) };
        let is_nearest = query.spread.is_none();
        let (found, stats) =
            if is_nearest { retrieve::nearest(snapshot, &ask)? } else { retrieve::spread(snapshot, &ask)? };
        self.usage.note(&self.stored, snapshot, (&ask, &found), is_nearest && stats.graph_segments > 0);
        Ok((retrieve::hits(snapshot, &found)?, stats))
    }

    /// What is known of how the collection is used: queries received and kept, and the recall of sampled searches.
    pub fn usage(&self) -> UsageStats {
        self.usage.stats()
    }

    /// Makes all graphs anew, so that they learn from the queries received so far, and from `queries` (each `[dim]`, any
    /// non-zero norm), which are not kept. As [`Self::compact`] besides.
    ///
    /// # Errors
    /// A query that is no vector of this collection, before anything is done; else as [`Self::compact`].
    pub fn learn(&self, queries: Vec<Vec<f32>>, watch: Watch<'_>) -> Result<CompactReport> {
        let queries = queries.into_iter().map(|query| self.checked(query)).collect::<Result<Vec<_>>>()?;
        Ok(self.usage.with_training(queries.concat(), || self.stored.rebuild(watch))?)
    }

    pub(crate) fn id(&self) -> u64 {
        self.stored.id()
    }

    /// What the collection costs on disk and in memory, by part.
    pub fn stats(&self) -> CollectionStats {
        self.stored.stats()
    }

    /// Brings everything into as few segments as possible, without the rows that were deleted or replaced.
    ///
    /// # Errors
    /// No room on the disk, which is looked at first; damage, which is to be repaired first.
    pub fn compact(&self, watch: Watch<'_>) -> Result<CompactReport> {
        Ok(self.stored.compact(watch)?)
    }

    /// Seals what is in memory into a mapped segment now.
    pub fn seal(&self) -> Result<()> {
        Ok(self.stored.seal()?)
    }

    /// The picture behind an item, as the model sees it: from its file when that is unchanged, or else from the
    /// thumbnail; `None` for an item without a picture.
    pub(crate) fn image_of(&self, loaded: &LoadedModel, document: &Document) -> Result<Option<Arc<EncodedImage>>> {
        let Some(hash) = document.content_hash else { return Ok(None) };
        if let Some(kept) = loaded.encoder.kept(&hash) {
            return Ok(Some(kept));
        }
        let original = std::fs::read(Path::new(&document.uri)).ok().filter(|b| crate::encoder::content_hash(b) == hash);
        let bytes = original.as_deref().unwrap_or(&document.thumbnail);
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(loaded.encoder.encode_bytes(bytes)?))
    }

    pub(crate) fn image_by_key(&self, loaded: &LoadedModel, key: &str) -> Result<Arc<EncodedImage>> {
        let item = self.require(key)?;
        self.image_of(loaded, &item.document)?.ok_or_else(|| Error::BadItem {
            key: key.to_owned(),
            problem: "it has no picture to show to the model".to_owned(),
        })
    }

    /// The model, checked against the space of this collection.
    pub(crate) fn model(&self, what: &'static str) -> Result<Arc<LoadedModel>> {
        let Some(space) = self.space() else {
            return Err(Error::VectorsOnly { collection: self.name().to_owned(), what });
        };
        let loaded = self.loaded(what)?;
        if loaded.model.fingerprint() != space {
            return Err(Error::OtherSpace {
                collection: self.name().to_owned(),
                expected: hex::encode(space),
                found: hex::encode(loaded.model.fingerprint()),
            });
        }
        Ok(loaded)
    }

    /// The database's model, or that of the bundle that this collection was made with, when it names another one that is
    /// still there.
    fn loaded(&self, what: &'static str) -> Result<Arc<LoadedModel>> {
        let own = self.models.get(what);
        match &self.settings.bundle {
            Some(_) if own.as_ref().is_ok_and(|own| Some(own.model.fingerprint()) == self.space()) => own,
            Some(bundle) => self.models.load_at(bundle).or(own),
            None => own,
        }
    }

    fn query_vector(&self, query: &Query) -> Result<Vec<f32>> {
        let terms = query.terms.iter().map(|(term, weight)| Ok((self.term_vector(term)?, *weight)));
        combine(terms.collect::<Result<_>>()?)
    }

    fn term_vector(&self, term: &Term) -> Result<Vec<f32>> {
        match term {
            Term::Text(text) => self.model("text")?.embed_text(text),
            Term::Image(bytes) => self.model("an image")?.embed_image(bytes),
            Term::File(path) => self.model("an image")?.embed_image(&read_file(path)?),
            Term::Vector(vector) => self.checked(vector.clone()),
            Term::Key(key) => Ok(self.require(key)?.vector),
            Term::Dialogue(turns) => {
                let loaded = self.model("a dialogue")?;
                loaded.embed_dialogue(turns, &|key| self.image_by_key(&loaded, key))
            }
        }
    }

    pub(crate) fn checked(&self, vector: Vec<f32>) -> Result<Vec<f32>> {
        if vector.len() != self.dim() {
            return Err(Error::WrongDim {
                collection: self.name().to_owned(),
                expected: self.dim(),
                found: vector.len(),
            });
        }
        unit(vector)
    }

    pub(crate) fn unknown_key(&self, key: &str) -> Error {
        Error::UnknownKey { collection: self.name().to_owned(), key: key.to_owned() }
    }
}

fn read_item(snapshot: &Snapshot, key: &str) -> Result<Option<StoredItem>> {
    snapshot.find(key)?.map(|at| item_at(snapshot, key, at)).transpose()
}

/// The item of `key`, which is at `at`.
pub(crate) fn item_at(snapshot: &Snapshot, key: &str, at: Location) -> Result<StoredItem> {
    let segment = &snapshot.segments()[at.segment];
    Ok(StoredItem {
        key: key.to_owned(),
        vector: segment.vector(at.row)?.to_f32().into_owned(),
        features: segment.features(at.row)?,
        document: Document::read(segment.document(at.row)?)?,
    })
}
