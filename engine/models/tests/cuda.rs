//! Goal: a GPU that was asked for and is not there is an error, never a silent fall to the CPU.
//!
//! Method: the tiny bundle is opened for `cuda` with a library that has no CUDA provider beside it, as set-up installs it.
//! Needs the feature: `cargo test -p fromagerie-models --features cuda --test cuda`.

#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use fromagerie_models::{Bundle, Device, OnnxModel, Runtime, RuntimeOptions};

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let runtime = Runtime::load(RuntimeOptions { device: Device::Cuda(0), ..RuntimeOptions::default() }).unwrap();
    let bundle = Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_bundle")).unwrap();
    let opened = OnnxModel::load(&runtime, &bundle);
    let provider = runtime.library_path().with_file_name("libonnxruntime_providers_cuda.so");
    if provider.exists() {
        return; // a build for GPUs, perhaps on a machine with one
    }
    let error = opened.err().expect("the graphs were opened on something else").to_string();
    assert!(error.contains("CUDA"), "{error}");
}
