//! Compiles `fromagerie/v1/*.proto` with protox, so that no `protoc` is needed.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 6] = [
    "fromagerie/v1/admin.proto",
    "fromagerie/v1/collections.proto",
    "fromagerie/v1/search.proto",
    "fromagerie/v1/dialogue.proto",
    "fromagerie/v1/jobs.proto",
    "fromagerie/v1/models.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("fromagerie.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".fromagerie.v1").compile_fds(descriptors)?;
    Ok(())
}
