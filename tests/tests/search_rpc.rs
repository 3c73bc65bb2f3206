//! Goal: what a search can be told over the wire reaches the search: filters, a least score, keys to leave out, hits kept apart, recall, many
//! at once, and that nobody waits any more. Method: the real server over vectors whose neighbours are known.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::Served;
use fromagerie_proto::v1::{self, query_term};
use fromagerie_proto::v1::{
    admin_service_client::AdminServiceClient, collection_service_client::CollectionServiceClient,
    search_service_client::SearchServiceClient,
};
use prost_types::value::Kind;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

const ROWS: usize = 20_000;
const DIM: usize = 64;

/// Unit vectors that turn step by step, so that the nearest of row `n` are those around it.
fn turned(n: usize) -> Vec<f32> {
    let angle = n as f32 / ROWS as f32 * std::f32::consts::PI;
    (0..DIM).map(|at| ((at / 2 + 1) as f32 * angle + (at % 2) as f32 * std::f32::consts::FRAC_PI_2).cos()).collect()
}

fn number(value: f64) -> prost_types::Struct {
    let value = prost_types::Value { kind: Some(Kind::NumberValue(value)) };
    prost_types::Struct { fields: [("tenth".to_owned(), value)].into_iter().collect() }
}

fn near(n: usize) -> v1::SearchRequest {
    let term = query_term::Term::Vector(v1::Vector { values: turned(n) });
    let terms = vec![v1::QueryTerm { term: Some(term), weight: 0.0 }];
    v1::SearchRequest { collection: "plain".into(), terms, limit: 5, ..Default::default() }
}

async fn filled(server: &Served) -> Channel {
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut collections = CollectionServiceClient::new(channel.clone());
    let new = v1::CreateCollectionRequest {
        name: "plain".into(),
        dim: DIM as u32,
        vectors_only: true,
        queries_kept: Some(8),
        ..Default::default()
    };
    collections.create_collection(new).await.unwrap();
    for start in (0..ROWS).step_by(2000) {
        let item = |n: usize| v1::Item {
            key: n.to_string(),
            content: Some(v1::item::Content::Vector(v1::Vector { values: turned(n) })),
            payload: Some(number((n % 10) as f64)),
            ..Default::default()
        };
        let items = (start..start + 2000).map(item).collect();
        let batch = v1::UpsertItemsRequest { collection: "plain".into(), items, ..Default::default() };
        collections.upsert_items(batch).await.unwrap();
    }
    channel
}

fn keys(response: &v1::SearchResponse) -> Vec<&str> {
    response.hits.iter().map(|hit| hit.key.as_str()).collect()
}

#[tokio::test]
async fn what_a_search_is_told_reaches_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), None, &[]);
    let channel = filled(&server).await;
    let (mut search, mut admin) = (SearchServiceClient::new(channel.clone()), AdminServiceClient::new(channel.clone()));
    let compact = |rebuild| v1::CompactCollectionRequest { name: "plain".into(), rebuild };
    admin.compact_collection(compact(false)).await.unwrap();

    let all = search.search(near(1000)).await.unwrap().into_inner();
    assert_eq!((keys(&all)[0], all.hits.len(), all.stats.unwrap().graph_segment_count), ("1000", 5, 1));
    let without = v1::SearchRequest { exclude_keys: vec!["1000".into(), "1001".into()], recall: 0.99, ..near(1000) };
    let without = search.search(without).await.unwrap().into_inner();
    assert!(keys(&without)[0] == "999" && !keys(&without).contains(&"1001"), "{:?}", keys(&without));
    let least = v1::SearchRequest { score_min: Some(all.hits[1].score - 1e-6), limit: 50, ..near(1000) };
    let least = search.search(least).await.unwrap().into_inner();
    assert!((2..=5).contains(&least.hits.len()), "{:?}", keys(&least));
    let tenth = v1::SearchRequest { payload_equals: Some(number(3.0)), ..near(1000) };
    let tenth = search.search(tenth).await.unwrap().into_inner();
    assert!(tenth.hits.len() == 5 && keys(&tenth).iter().all(|key| key.ends_with('3')), "{:?}", keys(&tenth));
    assert!(keys(&tenth)[0] == "1003" || keys(&tenth)[0] == "993", "{:?}", keys(&tenth));
    let spread = v1::Spread { near_duplicates: Some(0.99), diversity: 0.0 };
    let apart = search.search(v1::SearchRequest { spread: Some(spread), ..near(1000) }).await.unwrap().into_inner();
    let mut rows: Vec<u32> = keys(&apart).iter().map(|key| key.parse().unwrap()).collect();
    assert_eq!((rows[0], rows.len()), (1000, 5));
    rows.sort_unstable();
    assert!(rows.is_sorted_by(|a, b| b - a > 10), "{rows:?} look the same");
    let spread = v1::Spread { near_duplicates: None, diversity: 2.0 };
    for wrong in [v1::SearchRequest { recall: 0.5, ..near(1) }, v1::SearchRequest { spread: Some(spread), ..near(1) }] {
        let error = search.search(wrong).await.unwrap_err();
        assert_eq!(error.get_details_error_info().unwrap().reason, "OUT_OF_RANGE");
    }

    let searches = vec![near(7), v1::SearchRequest { collection: String::new(), limit: 2, ..near(19_000) }];
    let ask = v1::BatchSearchRequest { collection: "plain".into(), searches };
    let batch = search.batch_search(ask.clone()).await.unwrap().into_inner();
    let answers: Vec<_> = batch.responses.iter().map(|one| (keys(one)[0], one.hits.len())).collect();
    assert_eq!(answers, [("7", 5), ("19000", 2)]);
    let other = v1::SearchRequest { collection: "other".into(), ..near(1) };
    let bad = |searches| v1::BatchSearchRequest { collection: "plain".into(), searches };
    for (searches, reason) in [
        (vec![near(1), other], "BAD_FIELD"),
        (vec![near(1); 1025], "BAD_FIELD"),
        (vec![near(1), v1::SearchRequest { terms: vec![], ..near(1) }], "EMPTY_QUERY"),
    ] {
        let error = search.batch_search(bad(searches)).await.unwrap_err();
        let info = error.get_details_error_info().unwrap();
        assert_eq!((error.code(), info.reason.as_str()), (Code::InvalidArgument, reason));
        assert!(reason != "EMPTY_QUERY" || info.metadata["search"] == "1", "{info:?}");
    }

    let mut collections = CollectionServiceClient::new(channel);
    let mut ask = v1::ListItemsRequest { collection: "plain".into(), page_size: 700, ..Default::default() };
    ask.payload_equals = Some(number(3.0));
    let mut listed: Vec<String> = Vec::new();
    loop {
        let page = collections.list_items(ask.clone()).await.unwrap().into_inner();
        assert!(page.items.len() <= 700 && page.items.iter().all(|item| item.vector.is_none()));
        listed.extend(page.items.into_iter().map(|item| item.key));
        if page.next_page_token.is_empty() {
            break;
        }
        ask.page_token = page.next_page_token;
    }
    assert!(listed.len() == ROWS / 10 && listed.is_sorted() && listed.iter().all(|key| key.ends_with('3')));

    let stats = v1::GetCollectionStatsRequest { name: "plain".into() };
    let before = admin.get_collection_stats(stats.clone()).await.unwrap().into_inner();
    assert_eq!((before.received_query_count, before.kept_query_count), (7, 7));
    assert!(before.part_bytes["payloads"] > 4 * ROWS as u64);
    admin.compact_collection(compact(true)).await.unwrap();
    let after = admin.get_collection_stats(stats).await.unwrap().into_inner();
    assert!(after.part_bytes["graph"] > before.part_bytes["graph"], "rebuilt, it has learned from them");
}

#[tokio::test]
async fn a_search_ends_when_nobody_waits_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), None, &[]);
    let channel = filled(&server).await;
    let (mut search, mut admin) = (SearchServiceClient::new(channel.clone()), AdminServiceClient::new(channel));
    let exact = v1::SearchRequest { exact: true, limit: 1000, ..near(5) };
    let mut ask = Request::new(v1::BatchSearchRequest { collection: "plain".into(), searches: vec![exact; 1024] });
    ask.set_timeout(Duration::from_millis(50));
    let late = search.batch_search(ask).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()), "{late}");
    // A search that was given up is not among those received: the count stops where the deadline found it.
    let stats = v1::GetCollectionStatsRequest { name: "plain".into() };
    let mut counts = Vec::new();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        counts.push(admin.get_collection_stats(stats.clone()).await.unwrap().into_inner().received_query_count);
    }
    assert!(counts[0] == counts[1] && counts[0] < 1024, "{counts:?}");
    assert_eq!(keys(&search.search(near(5)).await.unwrap().into_inner())[0], "5");
}
