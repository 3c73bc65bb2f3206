//! Goal: no bytes in the place of a source's file make an ingest panic, hang, or go on elsewhere than where it was; and none
//! in the place of what the engine keeps in storage make it panic or believe what is not there.
//! Method: a kept corpus, replayed and mutated.

#[path = "../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../storage/tests/common/random.rs"]
mod random;
#[path = "../../fuzz/scratch.rs"]
mod scratch;
#[path = "../../fuzz/source.rs"]
mod source;

use fromagerie::{Format, fuzzing};

/// Most of these are other people's decoders, which have fuzzers of their own.
const PART: u32 = 3;

#[test]
fn session() {
    mutate::run("session", 1, fuzzing::session);
}

#[test]
fn payload_list() {
    mutate::run("payload_list", 1, fuzzing::payload_list);
}

#[test]
fn hints() {
    mutate::run("hints", 1, fuzzing::hints);
}

macro_rules! survives {
    ($($name:ident $format:ident)*) => {$(
        #[test]
        fn $name() {
            mutate::run(stringify!($name), PART, |bytes| source::source(Format::$format, bytes));
        }
    )*};
}

survives!(tar Tar csv Csv tsv Tsv jsonl Jsonl npy Npy pickle Pickle);

#[cfg(feature = "parquet")]
survives!(parquet Parquet arrow Arrow);
