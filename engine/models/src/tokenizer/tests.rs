//! User text cannot become special tokens, and a growing reply shows whole characters only.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Bundle;

fn fixture() -> Bundle {
    Bundle::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_bundle")).unwrap()
}

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| changed(|_| {}).unwrap());
    &TOKENIZER
}

/// The fixture's tokenizer, changed.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, TokenizerError> {
    let bundle = fixture();
    let mut json: Value = serde_json::from_slice(&std::fs::read(bundle.path("tokenizer.json")).unwrap()).unwrap();
    change(&mut json);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    Tokenizer::open(&path, bundle.manifest(), bundle.generation())
}

const SPECIAL: [&str; 4] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[RET]"];

#[test]
fn templates_know_special_tokens_and_users_do_not() {
    let tokenizer = tokenizer();
    let reserved: Vec<u32> = SPECIAL.iter().map(|text| tokenizer.template.token_to_id(text).unwrap()).collect();
    for (text, id) in SPECIAL.iter().zip(&reserved) {
        assert_eq!(tokenizer.encode(text, true).unwrap(), [*id]);
        for forged in [(*text).to_owned(), format!("a{text}"), format!("{text}{text} cat"), format!(" {text}\n")] {
            let ids = tokenizer.encode(&forged, false).unwrap();
            assert!(ids.iter().all(|id| !reserved.contains(id)), "{forged}: {ids:?}");
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), forged);
        }
    }
}

#[test]
fn a_special_token_that_is_also_a_word_is_dropped_from_user_text() {
    // A vocabulary of whole words, in which [RET] is one: no way of encoding it leads around the id.
    let tokenizer = changed(|json| {
        json["model"] = json!({"type": "WordLevel", "unk_token": "a", "vocab": {
            "a": 0, "cat": 1, "<|endoftext|>": 263, "<|im_start|>": 264, "<|im_end|>": 265, "[RET]": 266}});
        json["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
        json["decoder"] = Value::Null;
    });
    let tokenizer = tokenizer.unwrap();
    assert_eq!(tokenizer.encode("cat [RET] cat", false).unwrap(), [1, 1]);
    assert_eq!(tokenizer.encode("cat [RET]", true).unwrap(), [1, 266]);
}

#[test]
fn decoding_shows_or_hides_special_tokens() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("<|im_start|>a red cat[RET]<|im_end|>", true).unwrap();
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "<|im_start|>a red cat[RET]<|im_end|>");
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "a red cat");
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let refused = |change: &dyn Fn(&mut Value)| changed(change).err().unwrap().to_string();
    let without_ret = |json: &mut Value| {
        json["added_tokens"].as_array_mut().unwrap().pop();
    };
    let text = refused(&without_ret);
    assert!(text.contains("tokenizer.json has no token 266, which is the [RET] token by fromagerie.json"), "{text}");
    let text = refused(&|json| json["added_tokens"] = json!([]));
    assert!(text.contains("no token"), "{text}");
    let text = refused(&|json| {
        let added = json["added_tokens"].as_array_mut().unwrap();
        let mut beyond = added[0].clone();
        (beyond["content"], beyond["id"]) = (json!("<beyond>"), json!(267));
        added.push(beyond);
    });
    assert!(text.contains("token id 267") && text.contains("ends at 267"), "{text}");
    let text = refused(&|json| *json = json!({"hello": 1}));
    assert!(text.contains("is not a tokenizer"), "{text}");
    let text = refused(&|json| json["model"]["merges"] = json!([["no", "such"]]));
    assert!(text.contains("is not a tokenizer"), "{text}");
}

fn stream(tokenizer: &Tokenizer) -> TokenStream<'_> {
    TokenStream::new(|ids| Ok(tokenizer.decode(ids, false)?))
}

#[test]
fn a_stream_gives_whole_characters() {
    let tokenizer = tokenizer();
    let text = "a red cat, żółw 🧀!";
    let ids = tokenizer.encode(text, false).unwrap();
    let mut stream = stream(tokenizer);
    let parts: Vec<Option<String>> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
    assert!(parts.iter().flatten().all(|part| !part.contains('\u{FFFD}')));
    assert!(parts.contains(&Some("🧀".into())) && parts.contains(&None));
    assert_eq!(parts.into_iter().flatten().collect::<String>(), text);
    assert_eq!(stream.finish().unwrap(), None);
}

#[test]
fn half_a_character_shows_only_at_the_end() {
    let tokenizer = tokenizer();
    let cheese = tokenizer.encode("🧀", false).unwrap();
    assert_eq!(cheese.len(), 4);
    let mut cut = stream(tokenizer);
    assert_eq!((cut.push(cheese[0]).unwrap(), cut.push(cheese[1]).unwrap()), (None, None));
    assert_eq!(cut.finish().unwrap(), Some("\u{FFFD}".into()));
    // Bytes that are no text at all are not held back for ever.
    let mut garbage = stream(tokenizer);
    let shown: String = (0..20).filter_map(|_| garbage.push(cheese[0]).unwrap()).collect();
    assert_eq!(shown, "\u{FFFD}".repeat(17));
    assert_eq!(garbage.finish().unwrap(), Some("\u{FFFD}".repeat(3)));
}

proptest! {
    #[test]
    fn any_text_survives_and_streams(text in "\\PC{0,40}") {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text, false).unwrap();
        prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &text);
        let mut stream = stream(tokenizer);
        let mut streamed: String = ids.iter().filter_map(|id| stream.push(*id).unwrap()).collect();
        streamed.extend(stream.finish().unwrap());
        prop_assert_eq!(streamed, text);
    }
}
