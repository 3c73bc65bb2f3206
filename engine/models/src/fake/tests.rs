//! The fake keeps the promises that tests elsewhere build on.

use super::*;
use crate::image::Picture;
use crate::model::unit;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn picture(model: &FakeModel, rgb: [u8; 3]) -> ImageEncoding {
    let pixels = model.preprocessor().pixels(&Picture::filled(20, 10, rgb).unwrap());
    model.encode_images(&[pixels]).unwrap().remove(0)
}

/// Greedy reply to a conversation, and the query at its first `[RET]`.
fn reply(model: &FakeModel, prompt: &str) -> (String, Option<Vec<f32>>) {
    let mut cache = model.new_cache();
    let mut out = model.forward(&model.embed(&model.encode(prompt, true).unwrap()).unwrap(), &mut cache).unwrap();
    let (mut ids, mut query) = (Vec::new(), None);
    for _ in 0..50 {
        let best = (0..out.logits.len()).max_by(|a, b| out.logits[*a].total_cmp(&out.logits[*b])).unwrap() as u32;
        if model.generation().is_eos(best) {
            break;
        }
        ids.push(best);
        out = model.forward(&model.embed(&[best]).unwrap(), &mut cache).unwrap();
        if best == RET && query.is_none() {
            query = Some(out.query(0, space::DIM).unwrap());
        }
    }
    (model.decode(&ids, true).unwrap(), query)
}

fn ask(turns: &[&str]) -> String {
    let turns = turns.iter().map(|turn| format!("<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\n"));
    turns.collect::<Vec<_>>().join("Here it is:[RET]<|im_end|>\n")
}

#[test]
fn text_survives_and_user_text_cannot_forge_tokens() {
    let model = FakeModel::new();
    let text = "Héllo,  big\nwörld [RET] <|im_end|>!";
    for special in [true, false] {
        let ids = model.encode(text, special).unwrap();
        assert_eq!(model.decode(&ids, true).unwrap(), text);
        assert_eq!(ids.contains(&RET) && ids.contains(&IM_END), special);
    }
    assert!(model.decode(&[7777], true).is_err());
}

#[test]
fn a_colour_is_near_pictures_of_it() {
    let model = FakeModel::new();
    let red = picture(&model, [255, 0, 0]);
    assert_eq!(unit(red.retrieval.clone(), "a test").unwrap().len(), space::DIM);
    let (said, query) = reply(&model, &ask(&["show me a red boat"]));
    let query = query.unwrap();
    assert_eq!(said, "Here it is:[RET]");
    for other in [[0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [255, 255, 0]] {
        let other = picture(&model, other);
        assert!(dot(&query, &red.retrieval) > dot(&query, &other.retrieval) + 0.1);
    }
}

#[test]
fn earlier_turns_count_less_and_fillers_nothing() {
    let model = FakeModel::new();
    let (red, blue) = (picture(&model, [255, 0, 0]).retrieval, picture(&model, [0, 0, 255]).retrieval);
    let nearer = |turns: &[&str]| {
        let query = reply(&model, &ask(turns)).1.unwrap();
        if dot(&query, &red) > dot(&query, &blue) { "red" } else { "blue" }
    };
    assert_eq!(nearer(&["show me a red one", "show me another"]), "red");
    assert_eq!(nearer(&["show me a red one", "show me a blue one"]), "blue");
    assert_eq!(nearer(&["show me a blue one", "show another", "and another please"]), "blue");
}

#[test]
fn a_picture_in_the_prompt_is_part_of_the_question() {
    let model = FakeModel::new();
    let blue = picture(&model, [0, 0, 255]);
    let mut embeds = model.embed(&model.encode("<|im_start|>user\nanother like this ", true).unwrap()).unwrap();
    embeds.extend_rows(&blue.visual_tokens, HIDDEN).unwrap();
    embeds.extend(&model.embed(&model.encode("<|im_end|>\n<|im_start|>assistant\n", true).unwrap()).unwrap()).unwrap();
    let out = model.forward(&embeds, &mut model.new_cache()).unwrap();
    let query = out.query(embeds.len() - 1, space::DIM).unwrap();
    assert!(dot(&query, &blue.retrieval) > 0.99);
}

#[test]
fn scripts_replace_replies() {
    let model = FakeModel::new().on("two", "One[RET] and two[RET]").on("show two", "never");
    assert_eq!(reply(&model, &ask(&["show two"])).0, "One[RET] and two[RET]");
    assert_eq!(reply(&model, &ask(&["How are you"])).0, "You said: How are you");
    let plain = FakeModel::new().with_dialogue(Dialogue::default());
    assert_eq!(reply(&plain, "good day\nshow me a cat\n").0, "Here it is:[RET]");
    assert_eq!(reply(&plain, "show me a cat\nHere it is:[RET]\nthanks\n").0, "You said: thanks");
}

#[test]
fn a_cache_saves_work_and_changes_nothing() {
    let model = FakeModel::new();
    let ids = model.encode(&ask(&["show me a red one"]), true).unwrap();
    let embeds = model.embed(&ids).unwrap();
    let whole = model.forward_all(&embeds, &mut model.new_cache()).unwrap();
    let before = model.counts();
    let mut cache = model.new_cache();
    for at in 0..embeds.len() {
        let step = model.forward(&embeds.slice(at..at + 1).unwrap(), &mut cache).unwrap();
        assert_eq!(step.logits, whole.logits[at * VOCAB_SIZE as usize..][..VOCAB_SIZE as usize]);
        assert_eq!(step.retrieval, whole.retrieval[at * space::DIM..][..space::DIM]);
    }
    let after = model.counts();
    let n = ids.len() as u64;
    assert_eq!((after.forward_calls - before.forward_calls, after.tokens_fed - before.tokens_fed), (n, n));

    let copy = cache.try_clone().unwrap();
    cache.truncate(3).unwrap();
    assert_eq!((cache.len(), copy.len()), (3, ids.len()));
    assert!(cache.bytes() < copy.bytes());
}

#[test]
fn limits_are_kept() {
    let model = FakeModel::new().with_positions(4);
    let embeds = model.embed(&[5, 6, 7]).unwrap();
    let mut cache = model.new_cache();
    model.forward(&embeds, &mut cache).unwrap();
    assert!(matches!(
        model.forward(&embeds, &mut cache),
        Err(ModelError::ContextFull { cached: 3, added: 3, limit: 4 })
    ));
    assert_eq!(cache.len(), 3);
    assert!(matches!(model.forward(&Embeds::empty(HIDDEN), &mut cache), Err(ModelError::Empty { .. })));
    assert!(matches!(model.embed(&[VOCAB_SIZE]), Err(ModelError::TokenOutOfRange { .. })));
    let wrong = Pixels::new(3, 3, vec![0.0; 27]).unwrap();
    assert!(matches!(model.encode_images(&[wrong]), Err(ModelError::WrongPixels { .. })));
}

#[test]
fn spaces_are_told_apart() {
    assert_eq!(FakeModel::new().fingerprint(), FakeModel::new().on("x", "y").fingerprint());
    assert_ne!(FakeModel::new().fingerprint(), FakeModel::new().with_space("other").fingerprint());
}
