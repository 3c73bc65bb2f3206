//! `CollectionService`.

use std::pin::Pin;

use fromagerie::{Collection, Database, NewCollection, Upserted};
use fromagerie_proto::v1::{self, collection_service_server::CollectionService};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

use super::blocking::blocking;
use super::convert;
use super::mask::Mask;
use super::status::{bad, missing, status};

type Answer<T> = Result<Response<T>, Status>;

/// A page of items ends where its answer has so many bytes.
const PAGE_BYTES: usize = 8 << 20;
/// Items read for a page before its bytes are looked at.
const ITEMS_AT_ONCE: usize = 16;
/// How often a write follows a name whose collection is replaced just then.
const TRIES_MAX: u32 = 4;
/// Batches of one ingest stream that may wait for their receipts.
const BATCHES_WAITING_MAX: usize = 2;

pub(crate) struct Collections {
    db: Database,
}

impl Collections {
    pub(super) fn new(db: Database) -> Collections {
        Collections { db }
    }
}

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(&self, request: Request<v1::CreateCollectionRequest>) -> Answer<v1::Collection> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let new = NewCollection {
            dim: (request.dim > 0).then_some(request.dim as usize),
            vectors_only: request.vectors_only,
            index: convert::index_kind(request.index),
            vector_type: convert::vector_type(request.vector_type),
            queries_kept: request.queries_kept,
            features: request.with_features,
            thumbnails: super::convert_job::thumbnails(request.thumbnails()).unwrap_or_default(),
        };
        let made = blocking(move |_| db.create_collection(&request.name, new)).await?;
        Ok(Response::new(convert::collection(&made)))
    }

    async fn get_collection(&self, request: Request<v1::GetCollectionRequest>) -> Answer<v1::Collection> {
        let (db, name) = (self.db.clone(), request.into_inner().name);
        let found = blocking(move |_| db.open_collection(&name)).await?;
        Ok(Response::new(convert::collection(&found)))
    }

    async fn list_collections(
        &self,
        request: Request<v1::ListCollectionsRequest>,
    ) -> Answer<v1::ListCollectionsResponse> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let all = blocking(move |_| db.collections()).await?;
        let (page, next_page_token) = convert::page(all, request.page_size, &request.page_token, Collection::name);
        let collections = page.iter().map(convert::collection).collect();
        Ok(Response::new(v1::ListCollectionsResponse { collections, next_page_token }))
    }

    async fn delete_collection(
        &self,
        request: Request<v1::DeleteCollectionRequest>,
    ) -> Answer<v1::DeleteCollectionResponse> {
        let (db, name) = (self.db.clone(), request.into_inner().name);
        blocking(move |_| db.drop_collection(&name)).await?;
        Ok(Response::new(v1::DeleteCollectionResponse {}))
    }

    async fn set_alias(&self, request: Request<v1::SetAliasRequest>) -> Answer<v1::Alias> {
        let alias = request.into_inner().alias.ok_or_else(|| missing("alias", "its name and its collection"))?;
        let (db, wanted) = (self.db.clone(), alias.clone());
        // What an alias names in its turn is what is stored.
        let stored = blocking(move |_| {
            db.set_alias(&wanted.name, &wanted.collection)?;
            Ok(db.open_collection(&wanted.collection)?.name().to_owned())
        });
        Ok(Response::new(v1::Alias { collection: stored.await?, ..alias }))
    }

    async fn list_aliases(&self, _: Request<v1::ListAliasesRequest>) -> Answer<v1::ListAliasesResponse> {
        let db = self.db.clone();
        let aliases = blocking(move |_| Ok(db.aliases())).await?;
        let aliases = aliases.into_iter().map(|(name, collection)| v1::Alias { name, collection }).collect();
        Ok(Response::new(v1::ListAliasesResponse { aliases }))
    }

    async fn delete_alias(&self, request: Request<v1::DeleteAliasRequest>) -> Answer<v1::DeleteAliasResponse> {
        let (db, name) = (self.db.clone(), request.into_inner().name);
        blocking(move |_| db.remove_alias(&name)).await?;
        Ok(Response::new(v1::DeleteAliasResponse {}))
    }

    async fn upsert_items(&self, request: Request<v1::UpsertItemsRequest>) -> Answer<v1::WriteReceipt> {
        let request = request.into_inner();
        Ok(Response::new(self.upsert(&request.collection, request.items, request.request_id).await?))
    }

    type IngestItemsStream = Pin<Box<dyn Stream<Item = Result<v1::WriteReceipt, Status>> + Send>>;

    async fn ingest_items(
        &self,
        request: Request<Streaming<v1::UpsertItemsRequest>>,
    ) -> Answer<Self::IngestItemsStream> {
        let mut batches = request.into_inner();
        let (send, receipts) = mpsc::channel(BATCHES_WAITING_MAX);
        let this = Collections::new(self.db.clone());
        tokio::spawn(async move {
            let mut collection = None;
            while let Some(batch) = batches.next().await {
                let receipt = match batch {
                    Ok(batch) => this.write_batch(batch, &mut collection).await,
                    Err(status) => Err(status),
                };
                let failed = receipt.is_err();
                // A client that no longer listens is done; what was acknowledged stays.
                if send.send(receipt).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receipts))))
    }

    async fn update_items(&self, request: Request<v1::UpdateItemsRequest>) -> Answer<v1::WriteReceipt> {
        let request = request.into_inner();
        let mask = Mask::of(request.update_mask.as_ref(), request.items.len())?;
        let update = || {
            let changes = request.items.iter().cloned().map(|item| mask.change(item)).collect::<Result<Vec<_>, _>>()?;
            let id = given(&request.request_id);
            Ok(move |collection: Collection| collection.update_many(changes, id))
        };
        let updated = self.written(&request.collection, update).await?;
        Ok(Response::new(write_receipt(updated, request.request_id)))
    }

    async fn delete_items(&self, request: Request<v1::DeleteItemsRequest>) -> Answer<v1::WriteReceipt> {
        let request = request.into_inner();
        let delete = || {
            let (keys, id) = (request.keys.clone(), given(&request.request_id));
            Ok(move |collection: Collection| collection.delete(keys, id))
        };
        let receipt = self.written(&request.collection, delete).await?;
        let written = Upserted { receipt: Some(receipt), failures: Vec::new() };
        Ok(Response::new(write_receipt(written, request.request_id)))
    }

    async fn get_item(&self, request: Request<v1::GetItemRequest>) -> Answer<v1::StoredItem> {
        let request = request.into_inner();
        let collection = self.open(&request.collection).await?;
        let (key, with_features) = (request.key, request.with_features);
        let item = blocking(move |_| collection.require(&key)).await?;
        Ok(Response::new(convert::stored_item(item, with_features)))
    }

    async fn list_items(&self, request: Request<v1::ListItemsRequest>) -> Answer<v1::ListItemsResponse> {
        let request = request.into_inner();
        let collection = self.open(&request.collection).await?;
        Ok(Response::new(blocking(move |_| items_page(&collection, request)).await?))
    }
}

fn items_page(collection: &Collection, request: v1::ListItemsRequest) -> fromagerie::Result<v1::ListItemsResponse> {
    let size = convert::page_size(request.page_size);
    let filter = request.payload_equals.map(convert::object).unwrap_or_default();
    let (mut items, mut bytes) = (Vec::new(), 0);
    let mut after = request.page_token;
    // Few are read at a time, so that no more than a page is ever held.
    loop {
        let wanted = ITEMS_AT_ONCE.min(size - items.len());
        let found = collection.list(&after, wanted, &filter)?;
        let is_last = found.len() < wanted;
        for item in found {
            after.clone_from(&item.key);
            let mut item = convert::stored_item(item, false);
            item.vector = item.vector.filter(|_| request.with_vectors);
            if !request.with_thumbnails {
                item.thumbnail.clear();
            }
            bytes += item.encoded_len();
            items.push(item);
        }
        if is_last {
            return Ok(v1::ListItemsResponse { items, next_page_token: String::new() });
        }
        if items.len() == size || bytes >= PAGE_BYTES {
            return Ok(v1::ListItemsResponse { items, next_page_token: after });
        }
    }
}

impl Collections {
    async fn open(&self, name: &str) -> Result<Collection, Status> {
        if name.is_empty() {
            return Err(missing("collection", "the name of a collection or an alias"));
        }
        let (db, name) = (self.db.clone(), name.to_owned());
        blocking(move |_| db.open_collection(&name)).await
    }

    /// One batch of a stream, whose first request says which collection it is for. What an alias names is looked up for each
    /// batch: a new generation may have taken the place of the old one.
    async fn write_batch(
        &self,
        batch: v1::UpsertItemsRequest,
        current: &mut Option<String>,
    ) -> Result<v1::WriteReceipt, Status> {
        let name = current.get_or_insert_with(|| batch.collection.clone());
        if !batch.collection.is_empty() && batch.collection != *name {
            let given = &batch.collection;
            return Err(bad("collection", &format!("this stream is for {name:?}, and a batch named {given:?}")));
        }
        self.upsert(name, batch.items, batch.request_id).await
    }

    async fn upsert(&self, name: &str, items: Vec<v1::Item>, request_id: String) -> Result<v1::WriteReceipt, Status> {
        let upsert = || {
            let items = items.iter().cloned().map(convert::item).collect::<Result<Vec<_>, _>>()?;
            let id = given(&request_id);
            Ok(move |collection: Collection| collection.upsert(items, id))
        };
        let written = self.written(name, upsert).await?;
        Ok(write_receipt(written, request_id))
    }

    /// Writes to what a name means. When another generation takes its place at that moment, nothing was written, and it is
    /// tried again with that one.
    async fn written<T: Send + 'static, W>(
        &self,
        name: &str,
        write: impl Fn() -> Result<W, Status>,
    ) -> Result<T, Status>
    where
        W: FnOnce(Collection) -> fromagerie::Result<T> + Send + 'static,
    {
        let mut tries = 1;
        loop {
            let (collection, work) = (self.open(name).await?, write()?);
            match blocking(move |_| work(collection)).await {
                Err(status) if tries < TRIES_MAX && is_handed_over(&status) => tries += 1,
                done => return done,
            }
        }
    }
}

fn is_handed_over(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "HANDED_OVER")
}

/// The request's id, when it has one.
fn given(request_id: &str) -> Option<String> {
    (!request_id.is_empty()).then(|| request_id.to_owned())
}

fn write_receipt(written: Upserted, request_id: String) -> v1::WriteReceipt {
    let failures = written.failures.into_iter().map(|(key, error)| v1::ItemFailure {
        key,
        reason: error.reason().to_owned(),
        message: status(&error).message().to_owned(),
    });
    let (sequence, put, deleted) = written.receipt.map_or((0, 0, 0), |r| (r.sequence, r.put, r.deleted));
    v1::WriteReceipt { sequence, written_count: put, deleted_count: deleted, failures: failures.collect(), request_id }
}
