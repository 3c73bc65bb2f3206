//! Goal: a library that cannot be loaded is an error that says why and what to do, and never the end of the process.
//!
//! Method: a process can load ONNX Runtime once, so one test goes through everything that must fail, in order, and
//! then loads the real one: every failure before has to leave that possible.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use fromagerie_models::{Device, LibraryError, Runtime, RuntimeOptions};

fn load(library: Option<&Path>) -> Result<Runtime, LibraryError> {
    Runtime::load(RuntimeOptions { library: library.map(PathBuf::from), ..RuntimeOptions::default() })
}

/// The C library that this process runs on: a whole shared object that is not ONNX Runtime.
fn libc() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines()
        .find(|line| line.contains("/libc.so") || line.contains("/libc-"))
        .and_then(|line| Some(PathBuf::from(line.split_whitespace().last()?)))
}

/// Where the real one lies, found by the same rules that the library uses.
fn real() -> PathBuf {
    let probe = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "print_the_library", "--nocapture", "--ignored"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&probe.stdout).into_owned();
    let line = text.lines().find_map(|line| line.split_once("library: "));
    PathBuf::from(line.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&probe.stderr))).1.trim())
}

#[test]
#[ignore = "run by the other test, in a process of its own"]
fn print_the_library() {
    match load(None) {
        Ok(runtime) => println!("library: {}", runtime.library_path().display()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
#[cfg(target_os = "linux")]
fn every_bad_library_is_an_error_and_the_good_one_loads_afterwards() {
    let real = real();
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path, says: &str| {
        let error = load(Some(path)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LibraryError::Unusable { .. }), "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains(says) && text.contains("make setup"), "{text}");
    };

    refused(&dir.path().join("missing.so"), "there is no such file");
    refused(dir.path(), "not a file");

    let text = dir.path().join("text.so");
    std::fs::write(&text, "version https://git-lfs.github.com/spec/v1\n".repeat(20)).unwrap();
    refused(&text, "no ELF header");

    let cut = dir.path().join("libonnxruntime.so.1.31.1");
    std::fs::copy(&real, &cut).unwrap();
    let whole = std::fs::metadata(&real).unwrap().len();
    for len in [whole - 1, whole / 2, 5_000, 100, 64, 10, 0] {
        std::fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(len).unwrap();
        let says = if len < 64 { "too short" } else { "cut off" };
        refused(&cut, says);
    }

    let foreign = libc().expect("this process runs on a C library");
    refused(&foreign, "OrtGetApiBase");

    let cuda = Runtime::load(RuntimeOptions { device: Device::Cuda(0), ..RuntimeOptions::default() });
    if cfg!(not(feature = "cuda")) {
        assert!(matches!(cuda, Err(LibraryError::DeviceNotBuilt { device: Device::Cuda(0) })));
    }

    let runtime = load(Some(&real)).unwrap();
    assert!(runtime.version().starts_with("1."), "{}", runtime.version());
    assert_eq!((runtime.device(), runtime.library_path()), (Device::Cpu, real.as_path()));
    assert!(runtime.intra_threads() >= 1);

    assert_eq!(load(None).unwrap().library_path(), real);
    let error = load(Some(&foreign)).unwrap_err();
    assert!(matches!(&error, LibraryError::AlreadyLoaded { loaded, .. } if *loaded == real), "{error}");
}
