//! Goal: no bytes on a disk make a decoder panic or believe what is not there. Method: the corpus that libFuzzer kept,
//! replayed and mutated, through every entry point of `fromagerie_storage::fuzzing`.

#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/mutate.rs"]
mod mutate;
#[path = "common/random.rs"]
mod random;

use fromagerie_storage::fuzzing;

macro_rules! survives {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            mutate::run(stringify!($name), 1, fuzzing::$name);
        }
    )*};
}

survives!(
    aliases catalog_value database_file document footer journal manifest readable segment snapshot_list snapshot_records
);

#[test]
fn every_entry_point_is_run() {
    assert_eq!(fuzzing::TARGETS.len(), 11, "name the new one above and in `fuzz/Cargo.toml`");
}
