//! Goal: a client over a real socket can do all that the wire promises. Method: the real server over the tiny bundle,
//! and tonic's clients.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Served, png, tiny_bundle};
use fromagerie_proto::v1::{self, chat_event, part, query_term};
use fromagerie_proto::v1::{
    admin_service_client::AdminServiceClient, collection_service_client::CollectionServiceClient,
    dialogue_service_client::DialogueServiceClient, model_service_client::ModelServiceClient,
    search_service_client::SearchServiceClient,
};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

fn item(key: &str, colour: [u8; 3]) -> v1::Item {
    v1::Item {
        key: key.to_owned(),
        content: Some(v1::item::Content::Image(png(colour).into())),
        caption: format!("a picture called {key}"),
        ..v1::Item::default()
    }
}

fn term(term: query_term::Term) -> v1::QueryTerm {
    v1::QueryTerm { term: Some(term), weight: 0.0 }
}

async fn connect(server: &Served) -> Channel {
    Channel::from_shared(server.url()).unwrap().connect().await.unwrap()
}

/// The one ErrorInfo of a status, whose reason programs match on.
fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status}"));
    assert_eq!(info.domain, "fromagerie");
    info.reason
}

#[tokio::test]
async fn a_collection_is_made_filled_searched_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let channel = connect(&server).await;
    let mut collections = CollectionServiceClient::new(channel.clone());
    let mut search = SearchServiceClient::new(channel);

    let new = v1::CreateCollectionRequest { name: "colours".into(), ..Default::default() };
    let made = collections.create_collection(new.clone()).await.unwrap().into_inner();
    assert_eq!((made.dim, made.space.len(), made.item_count), (6, 64, 0));
    let again = collections.create_collection(new).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::AlreadyExists, "NAME_TAKEN"));

    // A stream of batches; one picture is none, and is named.
    let bad = v1::Item { content: Some(v1::item::Content::Image(b"GIF89a".to_vec().into())), ..item("bad", RED) };
    let batches = vec![
        v1::UpsertItemsRequest {
            collection: "colours".into(),
            items: vec![item("red", RED), bad],
            request_id: "1".into(),
        },
        v1::UpsertItemsRequest { items: vec![item("blue", BLUE)], request_id: "2".into(), ..Default::default() },
    ];
    let receipts = collections.ingest_items(tokio_stream::iter(batches)).await.unwrap().into_inner();
    let receipts: Vec<_> = receipts.map(Result::unwrap).collect().await;
    assert_eq!(receipts.iter().map(|r| r.written_count).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(
        (receipts[0].failures[0].key.as_str(), receipts[0].failures[0].reason.as_str()),
        ("bad", "TRUNCATED_IMAGE")
    );
    assert!(receipts[1].sequence > receipts[0].sequence);

    let ask = |terms| v1::SearchRequest {
        collection: "colours".into(),
        terms,
        limit: 5,
        with_thumbnails: true,
        ..Default::default()
    };
    let by_image = ask(vec![term(query_term::Term::Image(png(BLUE).into()))]);
    let found = search.search(by_image).await.unwrap().into_inner();
    assert_eq!(found.hits[0].key, "blue");
    assert!(found.hits[0].score > 0.999 && found.hits[0].thumbnail.starts_with(b"\xff\xd8"));
    assert_eq!(found.hits[0].caption, "a picture called blue");
    let by_key = search.search(ask(vec![term(query_term::Term::Key("blue".into()))])).await.unwrap().into_inner();
    assert_eq!(by_key.hits.iter().map(|h| h.key.as_str()).collect::<Vec<_>>(), ["red"]);
    assert_eq!(
        search.search(ask(vec![term(query_term::Term::Text("red".into()))])).await.unwrap().into_inner().hits.len(),
        2
    );
    let stored = collections
        .get_item(v1::GetItemRequest { collection: "colours".into(), key: "red".into(), with_features: false })
        .await
        .unwrap()
        .into_inner();
    let by_vector = ask(vec![term(query_term::Term::Vector(stored.vector.unwrap()))]);
    assert_eq!(search.search(by_vector).await.unwrap().into_inner().hits[0].key, "red");
    let turns = vec![v1::DialogueTurn {
        role: v1::Role::User as i32,
        parts: vec![v1::Part { part: Some(part::Part::Text("hi".into())) }],
    }];
    let by_dialogue = ask(vec![term(query_term::Term::Dialogue(v1::Dialogue { turns }))]);
    assert_eq!(search.search(by_dialogue).await.unwrap().into_inner().hits.len(), 2);

    let alias = v1::Alias { name: "latest".into(), collection: "colours".into() };
    collections.set_alias(v1::SetAliasRequest { alias: Some(alias) }).await.unwrap();
    let through =
        collections.get_collection(v1::GetCollectionRequest { name: "latest".into() }).await.unwrap().into_inner();
    assert_eq!((through.name.as_str(), through.item_count), ("colours", 2));
    let drop = v1::DeleteCollectionRequest { name: "colours".into() };
    let held = collections.delete_collection(drop.clone()).await.unwrap_err();
    assert_eq!((held.code(), reason(&held).as_str()), (Code::FailedPrecondition, "HAS_ALIASES"));
    collections.delete_alias(v1::DeleteAliasRequest { name: "latest".into() }).await.unwrap();
    collections.delete_collection(drop).await.unwrap();
    let listed = collections.list_collections(v1::ListCollectionsRequest::default()).await.unwrap().into_inner();
    assert!(listed.collections.is_empty());
}

#[tokio::test]
async fn an_update_reaches_what_its_mask_names() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let mut collections = CollectionServiceClient::new(connect(&server).await);
    let new = v1::CreateCollectionRequest { name: "colours".into(), ..Default::default() };
    collections.create_collection(new).await.unwrap();
    let upsert =
        v1::UpsertItemsRequest { collection: "colours".into(), items: vec![item("red", RED)], ..Default::default() };
    collections.upsert_items(upsert).await.unwrap();
    let get = v1::GetItemRequest { collection: "colours".into(), key: "red".into(), with_features: false };
    let mut expected = collections.get_item(get.clone()).await.unwrap().into_inner();

    let ask = |items, paths: &[&str]| v1::UpdateItemsRequest {
        collection: "colours".into(),
        items,
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
        request_id: paths.concat(),
    };
    let named = |key: &str| v1::Item { caption: "now".into(), uri: "nowhere".into(), ..item(key, BLUE) };
    let update = ask(vec![named("red"), named("none")], &["caption"]);
    let receipt = collections.update_items(update.clone()).await.unwrap().into_inner();
    let failed: Vec<_> = receipt.failures.iter().map(|f| (f.key.as_str(), f.reason.as_str())).collect();
    assert_eq!((receipt.written_count, failed), (1, vec![("none", "UNKNOWN_KEY")]));
    "now".clone_into(&mut expected.caption);
    assert_eq!(collections.get_item(get.clone()).await.unwrap().into_inner(), expected);
    let again = collections.update_items(update).await.unwrap().into_inner();
    assert_eq!(again.sequence, receipt.sequence, "a repeat gets the first receipt");

    collections.update_items(ask(vec![item("red", BLUE)], &["image"])).await.unwrap();
    let changed = collections.get_item(get).await.unwrap().into_inner();
    assert!(changed.vector != expected.vector && changed.thumbnail != expected.thumbnail);
    assert_eq!(changed.caption, "now");
    let refused = collections.update_items(ask(vec![named("red")], &["caption", "*"])).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "BAD_FIELD"));
    let wrong = collections.update_items(ask(vec![named("red")], &["vector"])).await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::InvalidArgument, "MISSING_FIELD"));
}

#[tokio::test]
async fn a_conversation_streams_words_and_pictures_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let channel = connect(&server).await;
    let mut collections = CollectionServiceClient::new(channel.clone());
    let mut dialogue = DialogueServiceClient::new(channel);
    collections
        .create_collection(v1::CreateCollectionRequest { name: "colours".into(), ..Default::default() })
        .await
        .unwrap();
    let items = vec![item("red", RED), item("blue", BLUE)];
    collections
        .upsert_items(v1::UpsertItemsRequest { collection: "colours".into(), items, ..Default::default() })
        .await
        .unwrap();
    let ask = v1::CreateSessionRequest { collection: "colours".into(), session_id: "mine".into() };
    let session = dialogue.create_session(ask).await.unwrap().into_inner();

    let mut shown = Vec::new();
    for _ in 0..2 {
        let request = v1::ChatRequest {
            session: session.name.clone(),
            parts: vec![v1::Part { part: Some(part::Part::Text("a".into())) }],
            options: Some(v1::ChatOptions { max_tokens: Some(3), force_ret: true, ..Default::default() }),
        };
        let mut events = dialogue.chat(request).await.unwrap().into_inner();
        let mut finished = None;
        while let Some(event) = events.next().await {
            match event.unwrap().event.unwrap() {
                chat_event::Event::Images(images) => shown.extend(images.hits.into_iter().map(|h| h.key)),
                chat_event::Event::Finished(last) => finished = Some(last),
                chat_event::Event::Text(_) => {}
            }
        }
        let finished = finished.expect("a reply ends with its summary");
        assert!(finished.prompt_token_count > 0 && finished.total_ms > 0.0);
    }
    shown.sort();
    assert_eq!(shown, ["blue", "red"], "each picture once");
    let kept = dialogue.get_session(v1::GetSessionRequest { name: "mine".into() }).await.unwrap().into_inner();
    assert_eq!(kept.turns.len(), 4);
    let listed = dialogue.list_sessions(v1::ListSessionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.sessions.len(), 1);

    let unknown = v1::ChatRequest { session: "nobody".into(), ..Default::default() };
    let error = dialogue.chat(unknown).await.unwrap().into_inner().next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::NotFound, "UNKNOWN_SESSION"));
    let long = v1::ChatRequest {
        session: "mine".into(),
        parts: vec![v1::Part { part: Some(part::Part::Text("word ".repeat(100))) }],
        options: None,
    };
    let error = dialogue.chat(long).await.unwrap().into_inner().next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "PROMPT_TOO_LONG"));
    dialogue.delete_session(v1::DeleteSessionRequest { name: "mine".into() }).await.unwrap();
}

#[tokio::test]
async fn candidates_are_ranked_by_how_likely_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let mut models = ModelServiceClient::new(connect(&server).await);
    let text = |words: &str| v1::Part { part: Some(part::Part::Text(words.into())) };
    let prompt = vec![v1::Part { part: Some(part::Part::Image(png(RED).into())) }, text("a red cat")];
    let candidates: Vec<_> = [vec![text(" is here")], vec![text(" and"), text(" a dog")], vec![]]
        .map(|parts| v1::Candidate { parts })
        .into();
    let request = v1::ScoreRequest { prompt: prompt.clone(), candidates: candidates.clone() };
    let scored = models.score(request).await.unwrap().into_inner();
    assert_eq!(scored.candidates.len(), 3);
    for (candidate, found) in candidates.into_iter().zip(&scored.candidates) {
        let whole = [prompt.clone(), candidate.parts].concat();
        let alone = models.score(v1::ScoreRequest { prompt: whole, candidates: vec![] }).await.unwrap().into_inner();
        let alone = alone.prompt.unwrap();
        let read = scored.prompt.as_ref().unwrap().token_count;
        assert_eq!(alone.token_count, read + found.token_count);
        assert!((alone.mean - found.mean).abs() < 1e-4, "{} and {}", alone.mean, found.mean);
    }
    let likelihoods = scored.ranking.iter().map(|number| scored.candidates[*number as usize].log_likelihood);
    assert!(likelihoods.is_sorted_by(|a, b| a >= b) && scored.ranking[0] == 2, "{:?}", scored.ranking);

    let many = v1::ScoreRequest { prompt, candidates: vec![v1::Candidate::default(); 1025] };
    let refused = models.score(many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("1024"), "{refused}");
}

#[tokio::test]
async fn a_picture_is_captioned() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let mut models = ModelServiceClient::new(connect(&server).await);
    let request = |image: Vec<u8>, question: &str, max_tokens| v1::CaptionRequest {
        image: image.into(),
        question: question.into(),
        max_tokens,
    };
    let found = models.caption(request(png(RED), "", Some(6))).await.unwrap().into_inner();
    assert!(found.token_count <= 6 && found.caption.len() <= 64, "{found:?}");
    let asked = models.caption(request(png(RED), "Is it?", Some(6))).await.unwrap().into_inner();
    assert_ne!(asked, found, "the question makes no difference");
    for (image, max_tokens, expected) in
        [(b"no picture".to_vec(), None, "NOT_AN_IMAGE"), (png(RED), Some(5000), "OUT_OF_RANGE")]
    {
        let refused = models.caption(request(image, "", max_tokens)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, expected));
    }
}

#[tokio::test]
async fn bad_requests_get_one_error_info_each() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), None, &[]);
    let channel = connect(&server).await;
    let mut collections = CollectionServiceClient::new(channel.clone());
    let mut search = SearchServiceClient::new(channel.clone());
    let mut models = ModelServiceClient::new(channel);
    let plain = v1::CreateCollectionRequest { name: "plain".into(), dim: 3, vectors_only: true, ..Default::default() };
    collections.create_collection(plain).await.unwrap();
    let vector = |values: Vec<f32>| v1::Item {
        key: "k".into(),
        content: Some(v1::item::Content::Vector(v1::Vector { values })),
        ..v1::Item::default()
    };
    let put = |item| v1::UpsertItemsRequest { collection: "plain".into(), items: vec![item], ..Default::default() };
    for (values, reason) in
        [(vec![1.0], "WRONG_DIMENSION"), (vec![f32::NAN; 3], "BAD_VECTOR"), (vec![0.0; 3], "BAD_VECTOR")]
    {
        let receipt = collections.upsert_items(put(vector(values))).await.unwrap().into_inner();
        assert_eq!((receipt.written_count, receipt.failures[0].reason.as_str()), (0, reason));
    }
    let empty = collections.upsert_items(put(v1::Item::default())).await.unwrap_err();
    assert_eq!((empty.code(), reason(&empty).as_str()), (Code::InvalidArgument, "MISSING_FIELD"));
    let ask =
        |collection: &str, terms| v1::SearchRequest { collection: collection.into(), terms, ..Default::default() };
    let cases = [
        (ask("nowhere", vec![]), Code::NotFound, "UNKNOWN_COLLECTION"),
        (ask("plain", vec![]), Code::InvalidArgument, "EMPTY_QUERY"),
        (ask("plain", vec![v1::QueryTerm::default()]), Code::InvalidArgument, "MISSING_FIELD"),
        (ask("plain", vec![term(query_term::Term::Text("x".into()))]), Code::FailedPrecondition, "VECTORS_ONLY"),
        (ask("../plain", vec![]), Code::InvalidArgument, "BAD_NAME"),
    ];
    for (request, code, word) in cases {
        let error = search.search(request).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (code, word));
    }
    let none = models.get_model(v1::GetModelRequest {}).await.unwrap_err();
    assert_eq!((none.code(), reason(&none).as_str()), (Code::FailedPrecondition, "NO_MODEL"));
}

#[tokio::test]
async fn a_token_keeps_strangers_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), None, &["--token", "secret"]);
    let mut collections = CollectionServiceClient::new(connect(&server).await);
    let stranger = collections.list_collections(v1::ListCollectionsRequest::default()).await.unwrap_err();
    assert_eq!((stranger.code(), reason(&stranger).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
    let mut known = Request::new(v1::ListCollectionsRequest::default());
    known.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());
    collections.list_collections(known).await.unwrap();
}

#[tokio::test]
async fn a_server_is_looked_after_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(&folder.path().join("cellar"), Some(&tiny_bundle()), &[]);
    let channel = connect(&server).await;
    let mut collections = CollectionServiceClient::new(channel.clone());
    let mut admin = AdminServiceClient::new(channel);
    let new = v1::CreateCollectionRequest { name: "colours".into(), ..Default::default() };
    collections.create_collection(new).await.unwrap();
    let items = v1::UpsertItemsRequest {
        collection: "colours".into(),
        items: vec![item("red", RED), item("blue", BLUE)],
        ..Default::default()
    };
    collections.upsert_items(items.clone()).await.unwrap();
    collections.upsert_items(items).await.unwrap();

    let name = || "colours".to_owned();
    let compacted = admin
        .compact_collection(v1::CompactCollectionRequest { name: name(), rebuild: false })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(compacted.segments_after, 1);
    let stats = admin.get_collection_stats(v1::GetCollectionStatsRequest { name: name() }).await.unwrap().into_inner();
    assert_eq!((stats.item_count, stats.dead_row_count, stats.part_bytes["vectors"]), (2, 0, 2 * 6 * 4));
    let report = admin.verify_database(v1::VerifyDatabaseRequest::default()).await.unwrap().into_inner();
    assert!(
        report.damages.is_empty() && report.unfit_parts.is_empty() && report.item_count == 2 && report.read_bytes > 0,
        "{report:?}"
    );

    let path = folder.path().join("snap").to_str().unwrap().to_owned();
    let ask = |path: &str| v1::CreateSnapshotRequest { path: path.to_owned(), whole: false };
    let taken = admin.create_snapshot(ask(&path)).await.unwrap().into_inner();
    assert_eq!((taken.collection_count, taken.item_count), (1, 2));
    let again = admin.create_snapshot(ask(&path)).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::InvalidArgument, "BAD_DESTINATION"));
    let relative = admin.create_snapshot(ask("snap")).await.unwrap_err();
    assert_eq!(relative.code(), Code::InvalidArgument);
    let unknown = admin.get_collection_stats(v1::GetCollectionStatsRequest { name: "no".into() }).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "UNKNOWN_COLLECTION"));
}

/// Protocol buffers are read to a hundred messages in each other, and a level of a payload is three.
#[tokio::test]
async fn the_deepest_payload_that_is_kept_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let mut collections = CollectionServiceClient::new(connect(&server).await);
    let new = v1::CreateCollectionRequest { name: "colours".into(), ..Default::default() };
    collections.create_collection(new).await.unwrap();
    let payload = |levels: usize| {
        let object = |value| prost_types::Struct { fields: [("a".to_owned(), value)].into_iter().collect() };
        let number = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(7.0)) };
        let nest = |inner, _| prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(object(inner))) };
        Some(object((1..levels).fold(number, nest)))
    };
    let items = vec![
        v1::Item { payload: payload(20), ..item("deepest", RED) },
        v1::Item { payload: payload(21), ..item("deeper", BLUE) },
    ];
    let upsert = v1::UpsertItemsRequest { collection: "colours".into(), items, ..Default::default() };
    let receipt = collections.upsert_items(upsert).await.unwrap().into_inner();
    let failed: Vec<_> = receipt.failures.iter().map(|f| (f.key.as_str(), f.reason.as_str())).collect();
    assert_eq!((receipt.written_count, failed), (1, vec![("deeper", "BAD_ITEM")]));
    let get = v1::GetItemRequest { collection: "colours".into(), key: "deepest".into(), with_features: false };
    assert_eq!(collections.get_item(get).await.unwrap().into_inner().payload, payload(20));
}
