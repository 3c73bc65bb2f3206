//! Goal: no bytes in the place of a picture, a bundle's configuration or a tokenizer make the models panic, hang, or take
//! memory without bound. Method: a kept corpus, replayed and mutated.

#[path = "../../../fuzz/model.rs"]
mod model;
#[path = "../../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../../storage/tests/common/random.rs"]
mod random;
#[path = "../../../fuzz/scratch.rs"]
mod scratch;

/// Most of these are other people's decoders, which have fuzzers of their own.
const PART: u32 = 3;

#[test]
fn any_bytes_in_the_place_of_a_picture() {
    mutate::run("picture", PART, model::picture);
}

#[test]
fn any_bytes_in_the_place_of_a_bundle_s_configuration() {
    mutate::run("bundle", PART, model::bundle);
}

#[test]
fn any_bytes_in_the_place_of_a_tokenizer() {
    mutate::run("tokenizer", PART, model::tokenizer);
}
