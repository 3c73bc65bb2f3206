//! Goal: the demo's real model does its job: it shows a picture when one is wanted, finds plain things by plain words,
//! and says the same with its cache as without. Method: the bundle that `make setup` assembles, and a dozen of its
//! pictures.

#![allow(clippy::unwrap_used)]

mod common;

use fromagerie::dialogue::generate::{PromptPart, generate};
use fromagerie::dialogue::{ChatOptions, Event, Part};
use fromagerie::{Collection, Database, Item, Options};

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
