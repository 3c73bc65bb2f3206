//! Goal: a server that is told to end lets calls end, but not for ever. Method: the real server, a stream that nobody ends,
//! and signals.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::Served;
use fromagerie_proto::v1::{self, collection_service_client::CollectionServiceClient};
use tokio_stream::StreamExt;

/// Seconds until the server has ended, if it does within a minute.
async fn ended(server: &mut Served) -> Option<f64> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if !server.is_alive() {
            return Some(begun.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

#[tokio::test]
async fn a_second_signal_ends_what_does_not_end_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Served::start(folder.path(), None, &[]);
    let mut collections = CollectionServiceClient::connect(server.url()).await.unwrap();
    let new = v1::CreateCollectionRequest { name: "plain".into(), dim: 2, vectors_only: true, ..Default::default() };
    collections.create_collection(new).await.unwrap();
    let vector = v1::Vector { values: vec![1.0, 2.0] };
    let item = v1::Item { key: "a".into(), content: Some(v1::item::Content::Vector(vector)), ..Default::default() };
    let batch = v1::UpsertItemsRequest { collection: "plain".into(), items: vec![item], ..Default::default() };
    // One batch, and then nothing more, without an end.
    let batches = tokio_stream::once(batch).chain(tokio_stream::pending());
    let mut receipts = collections.ingest_items(batches).await.unwrap().into_inner();
    assert_eq!(receipts.message().await.unwrap().unwrap().written_count, 1);

    server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(server.is_alive(), "the call may end by itself");
    server.signal("INT");
    let seconds = ended(&mut server).await;
    assert!(seconds.is_some_and(|seconds| seconds < 8.0), "{seconds:?}");

    // Nothing that was acknowledged is gone, and a server without calls ends at once.
    let mut server = Served::start(folder.path(), None, &[]);
    let mut collections = CollectionServiceClient::connect(server.url()).await.unwrap();
    let get = v1::GetItemRequest { collection: "plain".into(), key: "a".into(), with_features: false };
    assert_eq!(collections.get_item(get).await.unwrap().into_inner().key, "a");
    drop(collections);
    server.signal("TERM");
    assert!(ended(&mut server).await.is_some());
}
