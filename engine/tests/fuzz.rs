//! Goal: no bytes in the place of a source's file make an ingest panic, hang, or go on elsewhere than where it was.
//! Method: a kept corpus, replayed and mutated.

#[path = "../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../storage/tests/common/random.rs"]
mod random;
#[path = "../../fuzz/scratch.rs"]
mod scratch;
#[path = "../../fuzz/source.rs"]
mod source;

use fromagerie::Format;

/// Most of these are other people's decoders, which have fuzzers of their own.
const PART: u32 = 3;

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
