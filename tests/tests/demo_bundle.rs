//! Goal: the demo's real model does its job: it shows a picture when one is wanted, finds plain things by plain words,
//! and says the same with its cache as without, and after a restart as before it. Method: the bundle that `make setup` assembles, and a dozen of its
//! pictures.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use fromagerie::dialogue::generate::{PromptPart, generate};
use fromagerie::dialogue::{ChatOptions, Event, Part};
use fromagerie::{Collection, Database, Item, Options};
use fromagerie_proto::v1::{
    self, collection_service_client::CollectionServiceClient, dialogue_service_client::DialogueServiceClient,
    model_service_client::ModelServiceClient,
};
use tokio_stream::StreamExt;

/// Pictures of the demo's collection, and what they are called.
const THINGS: [(&str, &str); 12] = [
    ("1F697.png", "a car"),
    ("1F34E.png", "a red apple"),
    ("1F3B8.png", "a guitar"),
    ("2602.png", "an umbrella"),
    ("1F418.png", "an elephant"),
    ("1F6B2.png", "a bicycle"),
    ("1F4D6.png", "a book"),
    ("1F33B.png", "a sunflower"),
    ("231A.png", "a wristwatch"),
    ("1F6F3.png", "a ship"),
    ("1F451.png", "a crown"),
    ("1F511.png", "a key"),
];

fn shop(folder: &std::path::Path) -> (Database, Collection) {
    let options = Options { bundle: Some(common::demo_bundle()), ..Options::default() };
    let db = Database::open_with(folder, options).unwrap();
    let things = db.collection("things").unwrap();
    let pictures = common::root().join(".cache/demo-images");
    let items = THINGS.map(|(file, _)| Item::file(pictures.join(file)).key(file)).to_vec();
    things.insert_many(items, None).unwrap();
    (db, things)
}

#[test]
fn plain_things_are_found_by_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let (_db, things) = shop(folder.path());
    let found = |(file, words): &&(&str, &str)| things.search(*words, 1).unwrap()[0].key == **file;
    let right = THINGS.iter().filter(found).count();
    println!("{right} of {} things were found first", THINGS.len());
    assert!(right >= 8, "only {right} of {} things were found first; by chance it is one", THINGS.len());
}

#[test]
fn a_picture_comes_when_one_is_wanted_and_is_never_shown_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (db, _) = shop(folder.path());
    let session = db.create_session("things", None).unwrap().name;
    let say = |words: &str| {
        let said = vec![Part::Text(words.to_owned())];
        db.chat(&session, said, &ChatOptions::default(), &|| false, &mut |_| Ok(())).unwrap()
    };
    let first = say("Show me a picture of a car.");
    assert_eq!(first.shown.len(), 1, "{}", first.text);
    assert!(say("What is two plus two?").shown.is_empty());
    let second = say("Show me another.");
    assert_eq!(second.shown.len(), 1, "{}", second.text);
    assert_ne!(first.shown, second.shown);
    assert!(second.reply.prompt_tokens_run * 4 < second.reply.prompt_tokens, "most of the prompt was read before");
}

#[test]
fn the_cache_changes_nothing() {
    let loaded = fromagerie::load_bundle(&common::demo_bundle(), &Options::default()).unwrap();
    let run = |without_cache| {
        let options = ChatOptions { tokens_max: Some(12), without_cache, ..ChatOptions::default() };
        let (mut tokens, mut queries) = (Vec::new(), Vec::new());
        let prompt = [PromptPart::Said(Part::Text("The capital of France is".to_owned()))];
        let options = ChatOptions { force_ret: true, ..options };
        generate(&loaded, &prompt, &options, &|| false, &mut |event| {
            match event {
                Event::Token { id, .. } => tokens.push(id),
                Event::Images { query, .. } => queries.push(query.to_vec()),
            }
            Ok(())
        })
        .unwrap();
        (tokens, queries)
    };
    let (tokens, queries) = run(false);
    let (without, fresh) = run(true);
    assert_eq!(tokens, without);
    let cosine: f32 = queries[0].iter().zip(&fresh[0]).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.999, "the query's cosine with and without a cache is {cosine}");
}

/// What one turn says, token by token, and the query of each picture it shows.
#[derive(Debug, Default)]
struct Said {
    tokens: Vec<(u32, f32)>,
    queries: Vec<Vec<f32>>,
    shown: Vec<String>,
}

fn turn(db: &Database, session: &str, parts: Vec<Part>) -> Said {
    let mut said = Said::default();
    let summary = db.chat(session, parts, &ChatOptions::default(), &|| false, &mut |event| {
        match event {
            Event::Token { id, ret_probability, .. } => said.tokens.push((id, ret_probability)),
            Event::Images { query, .. } => said.queries.push(query.to_vec()),
        }
        Ok(())
    });
    Said { shown: summary.unwrap().shown, ..said }
}

#[test]
fn a_conversation_goes_on_after_a_restart_as_if_there_had_been_none() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sent = std::fs::read(common::root().join(".cache/demo-images/1F34E.png")).unwrap();
    let text = |words: &str| Part::Text(words.to_owned());
    let turns = [
        vec![text("Show me a picture of a car.")],
        vec![Part::Image(sent), text("What is this?")],
        vec![text("What is two plus two?")],
        vec![text("Show me another.")],
    ];
    let (db, _) = shop(whole.path());
    db.create_session("things", Some("talk")).unwrap();
    let expected = turns.clone().map(|parts| turn(&db, "talk", parts));
    let (mut other, _) = shop(broken.path());
    other.create_session("things", Some("talk")).unwrap();
    for (parts, expected) in turns.into_iter().zip(&expected) {
        drop(other);
        let options = Options { bundle: Some(common::demo_bundle()), ..Options::default() };
        other = Database::open_with(broken.path(), options).unwrap();
        let found = turn(&other, "talk", parts);
        assert_eq!(found.shown, expected.shown);
        assert_eq!(found.tokens.len(), expected.tokens.len());
        for ((a, p), (b, q)) in found.tokens.iter().zip(&expected.tokens) {
            assert!(a == b && (p - q).abs() < 1e-4, "{a} with {p}, {b} with {q}");
        }
        for (a, b) in found.queries.iter().zip(&expected.queries) {
            let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!(1.0 - cosine < 1e-5, "queries are {cosine} apart");
        }
    }
    assert!(expected.iter().any(|said| !said.queries.is_empty()), "no picture was shown");
}

#[tokio::test]
async fn a_reply_that_nobody_waits_for_stops_and_leaves_no_turn() {
    let folder = tempfile::tempdir().unwrap();
    let server = common::Served::start(folder.path(), Some(&common::demo_bundle()), &[]);
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut collections = CollectionServiceClient::new(channel.clone());
    let mut models = ModelServiceClient::new(channel.clone());
    let mut dialogue = DialogueServiceClient::new(channel);
    let new = v1::CreateCollectionRequest { name: "things".into(), ..Default::default() };
    collections.create_collection(new).await.unwrap();
    let session = v1::CreateSessionRequest { collection: "things".into(), session_id: "talk".into() };
    dialogue.create_session(session).await.unwrap();
    let chat = |words: &str, tokens| v1::ChatRequest {
        session: "talk".into(),
        parts: vec![v1::Part { part: Some(v1::part::Part::Text(words.into())) }],
        // So hot that the model hardly ever comes to an end by itself.
        options: Some(v1::ChatOptions {
            max_tokens: Some(tokens),
            temperature: 20.0,
            ret_bias: Some(-50.0),
            ..Default::default()
        }),
    };
    let mut events = dialogue.chat(chat("Tell me everything.", 1000)).await.unwrap().into_inner();
    events.next().await.unwrap().unwrap();
    drop(events);
    let mut steps = async || {
        let counts = models.get_model(v1::GetModelRequest {}).await.unwrap().into_inner().batch_pass_counts;
        counts.iter().zip(1..).map(|(passes, rows)| passes * rows).sum::<u64>()
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let first = steps().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(steps().await, first, "the model still speaks");
    assert!(first < 500, "{first} tokens were made for nobody");
    // The session is free again, and the turn never was.
    let mut events = dialogue.chat(chat("Hello.", 2)).await.unwrap().into_inner();
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    let kept = dialogue.get_session(v1::GetSessionRequest { name: "talk".into() }).await.unwrap().into_inner();
    assert_eq!(kept.turns.len(), 2);
}
