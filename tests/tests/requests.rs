//! Goal: no request makes the server panic, hang or go away, whatever its bytes. Method: good requests of every kind, but
//! those that name files of the server's machine, mutated blindly and sent over a real socket; every answer must be a
//! refusal of the client's doing or a result, and at the end the database must verify.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "../../fuzz/mutate.rs"]
#[allow(dead_code)]
mod mutate;
#[path = "../../storage/tests/common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{Served, png, tiny_bundle};
use fromagerie_proto::v1::{self, collection_service_client::CollectionServiceClient, part, query_term};
use prost::bytes::{Buf, BufMut};
use prost_types::value::Kind;
use random::Random;
use tokio_stream::StreamExt;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// Bytes as they are: the message is not for the client to understand.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = usize;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    /// The length of a message.
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        let length = from.remaining();
        from.advance(length);
        Ok(Some(length))
    }
}

fn encoded(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

fn text(text: &str) -> v1::Part {
    v1::Part { part: Some(part::Part::Text(text.to_owned())) }
}

fn payload() -> prost_types::Struct {
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let list = prost_types::ListValue { values: vec![value(Kind::NumberValue(2.5)), value(Kind::NullValue(0))] };
    let fields = [("n", value(Kind::NumberValue(7.0))), ("list", value(Kind::ListValue(list)))];
    prost_types::Struct {
        fields: BTreeMap::from(fields.map(|(name, value)| (name.to_owned(), value))).into_iter().collect(),
    }
}

fn vector() -> v1::Vector {
    v1::Vector { values: vec![0.5, 0.5, 0.5, 0.5, 0.1, 0.1] }
}

fn searches() -> Vec<v1::SearchRequest> {
    use query_term::Term;
    let turns = vec![v1::DialogueTurn { role: v1::Role::User as i32, parts: vec![text("hi")] }];
    let terms = [
        Term::Text("red".into()),
        Term::Image(png([9, 9, 9]).into()),
        Term::Vector(vector()),
        Term::Key("red".into()),
        Term::Dialogue(v1::Dialogue { turns }),
    ];
    let search = |term| v1::SearchRequest {
        collection: "colours".into(),
        terms: vec![v1::QueryTerm { term: Some(term), weight: 1.0 }],
        limit: 3,
        exclude_keys: vec!["blue".into()],
        payload_equals: Some(payload()),
        spread: Some(v1::Spread { near_duplicates: Some(0.9), diversity: 0.5 }),
        ..Default::default()
    };
    terms.into_iter().map(search).collect()
}

/// Good requests, by the method that takes them.
fn requests() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let name = || "colours".to_owned();
    let image = v1::item::Content::Image(png([1, 2, 3]).into());
    let items = [image, v1::item::Content::Vector(vector())].map(|content| v1::Item {
        key: "new".into(),
        content: Some(content),
        caption: "a caption".into(),
        payload: Some(payload()),
        ..Default::default()
    });
    let upsert = v1::UpsertItemsRequest { collection: name(), items: items.into(), request_id: "1".into() };
    let update = v1::UpdateItemsRequest {
        collection: name(),
        items: vec![v1::Item { key: "red".into(), payload: Some(payload()), ..upsert.items[0].clone() }],
        update_mask: Some(prost_types::FieldMask {
            paths: ["caption", "payload.n", "payload.gone", "image"].map(str::to_owned).into(),
        }),
        request_id: "2".into(),
    };
    let create = v1::CreateCollectionRequest { name: "other".into(), dim: 6, ..Default::default() };
    let alias = v1::SetAliasRequest { alias: Some(v1::Alias { name: "a".into(), collection: name() }) };
    let chat = v1::ChatRequest {
        session: "talk".into(),
        parts: vec![text("Show me red."), v1::Part { part: Some(part::Part::ImageKey("red".into())) }],
        options: Some(v1::ChatOptions { max_tokens: Some(4), force_ret: true, ..Default::default() }),
    };
    let batch = v1::BatchSearchRequest { collection: name(), searches: searches() };
    let embed = v1::EmbedRequest { term: searches()[0].terms.first().cloned() };
    let score =
        v1::ScoreRequest { prompt: vec![text("a")], candidates: vec![v1::Candidate { parts: vec![text("b")] }] };
    let caption = v1::CaptionRequest { image: png([4, 5, 6]).into(), ..Default::default() };
    vec![
        ("SearchService/Search", searches().iter().map(encoded).collect()),
        ("SearchService/BatchSearch", vec![encoded(&batch)]),
        ("CollectionService/UpsertItems", vec![encoded(&upsert)]),
        ("CollectionService/UpdateItems", vec![encoded(&update)]),
        ("CollectionService/CreateCollection", vec![encoded(&create)]),
        (
            "CollectionService/ListItems",
            vec![encoded(&v1::ListItemsRequest {
                collection: name(),
                page_size: 2,
                page_token: "a".into(),
                payload_equals: Some(payload()),
                with_vectors: true,
                with_thumbnails: true,
            })],
        ),
        ("CollectionService/GetCollection", vec![encoded(&v1::GetCollectionRequest { name: name() })]),
        (
            "CollectionService/ListCollections",
            vec![encoded(&v1::ListCollectionsRequest { page_size: 2, page_token: "c".into() })],
        ),
        ("CollectionService/SetAlias", vec![encoded(&alias)]),
        (
            "CollectionService/GetItem",
            vec![encoded(&v1::GetItemRequest { collection: name(), key: "red".into(), with_features: true })],
        ),
        ("AdminService/GetCollectionStats", vec![encoded(&v1::GetCollectionStatsRequest { name: name() })]),
        ("DialogueService/Chat", vec![encoded(&chat)]),
        ("DialogueService/GetSession", vec![encoded(&v1::GetSessionRequest { name: "talk".into() })]),
        ("ModelService/Embed", vec![encoded(&embed)]),
        ("ModelService/Score", vec![encoded(&score)]),
        ("ModelService/Caption", vec![encoded(&caption)]),
        ("JobService/ListJobs", vec![encoded(&v1::ListJobsRequest { page_size: 1, ..Default::default() })]),
    ]
}

/// Sends the bytes and reads the answer to its end.
async fn call(channel: &Channel, method: &str, bytes: Vec<u8>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = format!("/fromagerie.v1.{method}").parse().unwrap();
    let mut request = Request::new(bytes);
    request.set_timeout(Duration::from_secs(60));
    let mut answer = client.server_streaming(request, path, Raw).await?.into_inner();
    while let Some(message) = answer.next().await {
        message?;
    }
    Ok(())
}

/// Whether a refusal is the client's doing. Bytes that are no message are tonic's own to refuse, as its internal error.
fn is_refusal(status: &Status) -> bool {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::ResourceExhausted => true,
        Code::Internal => status.message().contains("failed to decode Protobuf message"),
        _ => false,
    }
}

#[tokio::test]
async fn any_bytes_in_the_place_of_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Served::start(folder.path(), Some(&tiny_bundle()), &[]);
    let channel = Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut collections = CollectionServiceClient::new(channel.clone());
    let create = v1::CreateCollectionRequest { name: "colours".into(), ..Default::default() };
    collections.create_collection(create).await.unwrap();
    let item = |(key, colour): (&str, [u8; 3])| v1::Item {
        key: key.into(),
        content: Some(v1::item::Content::Image(png(colour).into())),
        payload: Some(payload()),
        ..Default::default()
    };
    let items = [("red", [255, 0, 0]), ("blue", [0, 0, 255]), ("grey", [9; 3])].map(item).into();
    let upsert = v1::UpsertItemsRequest { collection: "colours".into(), items, ..Default::default() };
    collections.upsert_items(upsert).await.unwrap();
    let session = v1::CreateSessionRequest { session_id: "talk".into(), collection: "colours".into() };
    call(&channel, "DialogueService/CreateSession", encoded(&session)).await.unwrap();

    let requests = requests();
    for (method, good) in &requests {
        for bytes in good {
            call(&channel, method, bytes.clone()).await.unwrap_or_else(|status| panic!("{method}: {status}"));
        }
    }
    let seconds = std::env::var("FROMAGERIE_FUZZ_SECONDS").map_or(3, |text| text.parse().unwrap());
    let mut random = Random::new(random::seed().unwrap_or(1));
    let (begun, mut sent, mut answered) = (Instant::now(), 0, 0);
    while begun.elapsed() < Duration::from_secs(seconds) / 3 {
        let (method, good) = &requests[random.below(requests.len())];
        let bytes = mutate::mutated(good, &mut random);
        sent += 1;
        match call(&channel, method, bytes.clone()).await {
            Ok(()) => answered += 1,
            Err(status) => {
                assert!(is_refusal(&status), "{method}: {status}; by {bytes:?}");
                let info = status.get_details_error_info();
                let info = info.unwrap_or_else(|| panic!("{method}: no ErrorInfo: {status}; by {bytes:?}"));
                assert!(info.domain == "fromagerie" && !info.reason.is_empty(), "{info:?}");
            }
        }
    }
    println!("{answered} of {sent} mutated requests were answered, the others refused");
    assert!(server.is_alive() && answered > sent / 100);
    call(&channel, "AdminService/VerifyDatabase", Vec::new()).await.unwrap();
}
