//! Goal: a conversation shows what was asked for, never the same picture twice, and never runs what it has read.
//! Method: a model whose every answer is known beforehand, over pictures of plain colours.

mod common;

use std::cell::Cell;
use std::sync::Arc;

use common::{REDS, cellar, png};
use fromagerie::dialogue::caption::{CaptionOptions, caption};
use fromagerie::dialogue::{ChatOptions, Event, Finish, Part, Role};
use fromagerie::{Database, Error, LoadedModel, Options, Spread};
use fromagerie_models::{Dialogue, FakeModel, Model, QueryContext};

#[test]
fn a_picture_comes_when_it_is_asked_for_and_only_then() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let cases: [(&str, &[&str]); 3] = [("hello there", &[]), ("show me red", &["red-1"]), ("what a fine day", &[])];
    for (said, shown) in cases {
        let summary = cellar.say(&session, said).unwrap();
        assert_eq!(summary.shown, shown, "after {said:?}: {}", summary.text);
        assert_eq!(summary.first_image_ms.is_some(), !shown.is_empty());
    }
}

#[test]
fn another_is_always_new_within_a_reply_and_across_turns() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let two = ChatOptions { images_per_ret: Some(2), ..ChatOptions::default() };
    let first = cellar.chat(&session, vec![Part::Text("show me red".into())], &two).unwrap();
    assert_eq!(first.shown, ["red-1", "red-2"]);
    assert_eq!(cellar.say(&session, "show another red").unwrap().shown, ["red-3"]);
    assert_eq!(cellar.say(&session, "show another red").unwrap().shown, ["blue"], "only blue is left");
    let nothing = cellar.say(&session, "show another red").unwrap();
    assert!(nothing.shown.is_empty(), "all were shown: {:?}", nothing.shown);
    // Another conversation begins afresh.
    let other = cellar.db.create_session("colours", None).unwrap().name;
    assert_eq!(cellar.say(&other, "show me red").unwrap().shown, ["red-1"]);
}

#[test]
fn what_was_shown_and_said_survives_the_process() {
    let (cellar, collection) = cellar(FakeModel::new(), &REDS);
    drop(collection);
    cellar.db.create_session("colours", Some("mine")).unwrap();
    assert_eq!(cellar.say("mine", "show me red").unwrap().shown, ["red-1"]);
    let before = cellar.db.session("mine").unwrap();
    let (folder, model) = (cellar.folder, cellar.model);
    drop(cellar.db);
    let db = Database::open_with_model(folder.path(), Options::default(), model).unwrap();
    let after = db.session("mine").unwrap();
    assert_eq!(after.turns, before.turns);
    assert_eq!(after.turns.iter().map(|t| t.role).collect::<Vec<_>>(), [Role::User, Role::Assistant]);
    let said = vec![Part::Text("show another".into())];
    let summary = db.chat("mine", said, &ChatOptions::default(), &|| false, &mut |_| Ok(())).unwrap();
    assert_eq!(summary.shown, ["red-2"]);
}

#[test]
fn a_turn_runs_only_what_is_new() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    cellar.say(&session, "show me red").unwrap();
    let second = cellar.say(&session, "show another").unwrap();
    let new = second.reply.prompt_tokens_run;
    assert!(new * 2 < second.reply.prompt_tokens, "{new} of {} were run", second.reply.prompt_tokens);
    // The same conversation without a cache says the same, and runs far more.
    let fresh = cellar.db.create_session("colours", None).unwrap().name;
    let slow = ChatOptions { without_cache: true, ..ChatOptions::default() };
    let before = cellar.model.counts().tokens_fed;
    let first = cellar.chat(&fresh, vec![Part::Text("show me red".into())], &slow).unwrap();
    let without = cellar.model.counts().tokens_fed - before;
    assert_eq!(first.shown, ["red-1"]);
    let again = cellar.db.create_session("colours", None).unwrap().name;
    let before = cellar.model.counts().tokens_fed;
    assert_eq!(cellar.say(&again, "show me red").unwrap().text, first.text);
    let with = cellar.model.counts().tokens_fed - before;
    assert!(with * 3 < without, "{with} positions with a cache, {without} without");
}

#[test]
fn pictures_of_the_user_become_part_of_the_context() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let parts = vec![Part::Image(png([10, 10, 240])), Part::Text("show me one like that".into())];
    assert_eq!(cellar.chat(&session, parts, &ChatOptions::default()).unwrap().shown, ["blue"]);
    let by_key = vec![Part::ImageKey("red-3".into()), Part::Text("show me one like that".into())];
    assert_eq!(cellar.chat(&session, by_key, &ChatOptions::default()).unwrap().shown, ["red-2"], "red-3 was shown");
}

#[test]
fn the_users_own_picture_is_not_shown_back() {
    let (cellar, collection) = cellar(FakeModel::new(), &REDS);
    let twin = fromagerie::Item::image("red-1-again", png([255, 0, 0]));
    collection.insert(twin).unwrap();
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let parts = vec![Part::Image(png([255, 0, 0])), Part::Text("show me one like that".into())];
    assert_eq!(cellar.chat(&session, parts, &ChatOptions::default()).unwrap().shown, ["red-2"]);
}

#[test]
fn another_is_unlike_what_was_shown_when_that_is_asked_for() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let spread = Spread { near_duplicates: Some(0.9), ..Spread::default() };
    let two = ChatOptions { images_per_ret: Some(2), spread, ..ChatOptions::default() };
    let said = |words: &str| vec![Part::Text(words.to_owned())];
    let first = cellar.chat(&session, said("show me red"), &two).unwrap();
    assert_eq!(first.shown, ["red-1", "blue"], "the other reds look the same");
    let session = cellar.db.create_session("colours", None).unwrap().name;
    assert_eq!(cellar.say(&session, "show me red").unwrap().shown, ["red-1"]);
    assert_eq!(cellar.chat(&session, said("show another red"), &two).unwrap().shown, ["blue"], "nor what came before");
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let parts = vec![Part::Image(png([250, 0, 10])), Part::Text("show me one like this".to_owned())];
    assert_eq!(cellar.chat(&session, parts, &two).unwrap().shown, ["blue"], "nor the user's own");
}

#[test]
fn a_query_can_be_made_from_the_exchange_alone() {
    let score_after = |query_context, before: Option<&str>| {
        let fake = FakeModel::new();
        let dialogue = Dialogue { query_context, ..fake.manifest().dialogue.clone() };
        let (cellar, _) = cellar(fake.with_dialogue(dialogue), &REDS);
        let session = cellar.db.create_session("colours", None).unwrap().name;
        before.map(|words| cellar.say(&session, words).unwrap());
        let mut score = f32::NAN;
        let said = vec![Part::Text("show me red".into())];
        cellar
            .db
            .chat(&session, said, &ChatOptions::default(), &|| false, &mut |event| {
                if let Event::Images { retrieved, .. } = event {
                    score = retrieved[0].hit.score;
                }
                Ok(())
            })
            .unwrap();
        score
    };
    let fresh = score_after(QueryContext::Exchange, None);
    let later = score_after(QueryContext::Exchange, Some("show me blue"));
    assert!((fresh - later).abs() < 1e-6, "{fresh} in a fresh conversation, {later} later");
    let drifted = score_after(QueryContext::Conversation, Some("show me blue"));
    assert!((fresh - drifted).abs() > 1e-3, "the conversation should have left a trace: {fresh} and {drifted}");
}

#[test]
fn a_bias_makes_pictures_come_and_stay_away() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let with_bias = |bias| ChatOptions { ret_bias: Some(bias), ..ChatOptions::default() };
    let said = |words: &str| vec![Part::Text(words.to_owned())];
    assert!(cellar.chat(&session, said("show me red"), &with_bias(-50.0)).unwrap().shown.is_empty());
    assert_eq!(cellar.chat(&session, said("red is fine"), &with_bias(50.0)).unwrap().shown, ["red-1"]);
    let forced = ChatOptions { force_ret: true, ..ChatOptions::default() };
    assert_eq!(cellar.chat(&session, said("blue is fine"), &forced).unwrap().shown, ["blue"]);
    let never = ChatOptions { rets_max: Some(0), force_ret: true, ..ChatOptions::default() };
    assert!(cellar.chat(&session, said("show me red"), &never).unwrap().shown.is_empty());
}

#[test]
fn an_old_conversation_forgets_its_oldest_turns_and_a_long_turn_is_refused() {
    let (cellar, _) = cellar(FakeModel::new().with_positions(160), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let short = ChatOptions { tokens_max: Some(16), ..ChatOptions::default() };
    let mut forgotten = 0;
    for _ in 0..8 {
        let said = vec![Part::Text("what is there to say about the weather today".into())];
        forgotten = cellar.chat(&session, said, &short).unwrap().forgotten_turns;
    }
    assert!(forgotten > 0 && forgotten % 2 == 0, "{forgotten} turns were forgotten");
    let long = vec![Part::Text("word ".repeat(400))];
    let error = cellar.chat(&session, long, &short).unwrap_err();
    assert!(matches!(error, Error::PromptTooLong { limit: 144, .. }), "{error}");
    assert!(error.to_string().contains("144"), "{error}");
}

#[test]
fn a_refused_turn_leaves_nothing_behind() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let refused = [
        vec![],
        vec![Part::Text("  ".into())],
        vec![Part::Image(b"not a picture".to_vec())],
        vec![Part::ImageKey("nothing".into())],
    ];
    for parts in refused {
        assert!(cellar.chat(&session, parts, &ChatOptions::default()).is_err());
    }
    assert!(cellar.db.session(&session).unwrap().turns.is_empty());
    let stopped =
        cellar
            .db
            .chat(&session, vec![Part::Text("show red".into())], &ChatOptions::default(), &|| true, &mut |_| Ok(()));
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert!(cellar.db.session(&session).unwrap().turns.is_empty());
    assert_eq!(cellar.say(&session, "show me red").unwrap().shown, ["red-1"]);
}

#[test]
fn a_reply_stops_within_a_token_of_being_cancelled() {
    let (cellar, _) = cellar(FakeModel::new().on("count", "one two three four five six seven eight"), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    for after in 1..6 {
        let (said, passes) = (Cell::new(0), Cell::new(0));
        let stopped = cellar.db.chat(
            &session,
            vec![Part::Text("count".into())],
            &ChatOptions::default(),
            &|| said.get() == after,
            &mut |_| {
                said.set(said.get() + 1);
                passes.set(cellar.model.counts().forward_calls);
                Ok(())
            },
        );
        assert!(matches!(stopped, Err(Error::Cancelled)));
        assert_eq!(said.get(), after);
        assert!(cellar.model.counts().forward_calls <= passes.get() + 1, "after {after} tokens");
    }
    assert!(cellar.db.session(&session).unwrap().turns.is_empty());
}

#[test]
fn a_reply_shows_at_least_as_many_pictures_as_are_asked_for() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let options = ChatOptions { rets_min: Some(2), rets_max: Some(3), ..ChatOptions::default() };
    let summary = cellar.chat(&session, vec![Part::Text("red is a fine colour".into())], &options).unwrap();
    assert_eq!(summary.shown, ["red-1", "red-2"]);
    let options = ChatOptions { rets_min: Some(2), ..ChatOptions::default() };
    let refused = cellar.chat(&session, vec![Part::Text("red".into())], &options);
    assert!(matches!(refused, Err(Error::OutOfRange { name: "ret_min", .. })));
}

#[test]
fn one_turn_at_a_time() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    let session = cellar.db.create_session("colours", None).unwrap().name;
    let mut inner = None;
    cellar
        .db
        .chat(&session, vec![Part::Text("show red".into())], &ChatOptions::default(), &|| false, &mut |event| {
            if let Event::Images { .. } = event {
                inner = Some(cellar.say(&session, "and I").unwrap_err().to_string());
            }
            Ok(())
        })
        .unwrap();
    assert!(inner.unwrap().contains("one turn at a time"));
}

#[test]
fn sessions_are_named_listed_and_deleted() {
    let (cellar, _) = cellar(FakeModel::new(), &REDS);
    cellar.db.create_session("colours", Some("b")).unwrap();
    cellar.db.create_session("colours", Some("a")).unwrap();
    assert!(matches!(cellar.db.create_session("colours", Some("a")), Err(Error::SessionExists { .. })));
    assert!(matches!(cellar.db.create_session("colours", Some("../a")), Err(Error::BadName { .. })));
    assert!(matches!(cellar.db.create_session("nowhere", None), Err(Error::UnknownCollection { .. })));
    assert_eq!(cellar.db.sessions().unwrap(), ["a", "b"]);
    cellar.db.delete_session("a").unwrap();
    assert!(matches!(cellar.say("a", "hello"), Err(Error::UnknownSession { .. })));
}

#[test]
fn a_picture_is_asked_about_in_the_bundles_words_or_the_callers() {
    let loaded = LoadedModel::new(Arc::new(FakeModel::new()), "cpu", "none").unwrap();
    let ask = |options: &CaptionOptions| caption(&loaded, png([255, 0, 0]), options, &|| false);
    assert_eq!(ask(&CaptionOptions::default()).unwrap().text, "You said: What is this?");

    let question = Some("Which colour?".to_owned());
    let own = ask(&CaptionOptions { question, ..CaptionOptions::default() }).unwrap();
    assert_eq!((own.text.as_str(), own.finish), ("You said: Which colour?", Finish::Stop));

    let short = ask(&CaptionOptions { tokens_max: Some(2), ..CaptionOptions::default() }).unwrap();
    assert_eq!((short.tokens, short.finish), (2, Finish::MaxTokens));
}

#[test]
fn what_cannot_be_captioned_is_told() {
    let loaded = LoadedModel::new(Arc::new(FakeModel::new()), "cpu", "none").unwrap();
    let options = CaptionOptions::default();
    assert!(caption(&loaded, b"no picture".to_vec(), &options, &|| false).is_err());
    assert_eq!(caption(&loaded, png([255, 0, 0]), &options, &|| true).unwrap_err().reason(), "CANCELLED");
    let none = CaptionOptions { tokens_max: Some(0), ..options };
    assert_eq!(caption(&loaded, png([255, 0, 0]), &none, &|| false).unwrap_err().reason(), "OUT_OF_RANGE");
}
