//! What no linter knows. Goal: the house stays as `ARCHITECTURE.md` draws it. Method: read the tree as text.
//!
//! Held here: arrows between rooms, single owners of heavy dependencies, a story at the head of each file, files of
//! one thought, links that lead somewhere, and nothing left unfinished.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may know. Whoever is not listed is forbidden.
const ARROWS: [(&str, &[&str]); 9] = [
    ("engine/kernels", &[]),
    ("engine/index", &["fromagerie-kernels"]),
    ("engine/models", &["fromagerie-kernels"]),
    ("storage", &[]),
    ("proto", &[]),
    ("engine", &["fromagerie-index", "fromagerie-models", "fromagerie-storage"]),
    ("server", &["fromagerie", "fromagerie-proto"]),
    ("tests", &[]),
    ("bench", &["fromagerie", "fromagerie-index", "fromagerie-models", "fromagerie-proto"]),
];

/// Each heavy dependency, and the only places that may name it.
const OWNERS: [(&str, &[&str]); 16] = [
    ("redb", &["storage/src/catalog"]),
    ("bincode", &["storage/src"]),
    ("memmap2", &["storage/src/mmap"]),
    ("hnsw_rs", &["engine/index/src/hnsw"]),
    ("ort", &["engine/models/src/onnx"]),
    ("tokenizers", &["engine/models/src/tokenizer"]),
    ("image", &["engine/models/src/image"]),
    ("tar", &["engine/src/ingest/source/tar"]),
    ("csv", &["engine/src/ingest/source/table"]),
    ("parquet", &["engine/src/ingest/source/arrow", "engine/src/embed/table.rs"]),
    ("arrow_array", &["engine/src/ingest/source/arrow", "engine/src/embed/table.rs"]),
    ("arrow_ipc", &["engine/src/ingest/source/arrow", "engine/src/embed/table.rs"]),
    ("arrow_schema", &["engine/src/ingest/source/arrow", "engine/src/embed/table.rs"]),
    ("flate2", &["engine/src/ingest/source/tar"]),
    ("ureq", &["engine/src/ingest/fetch"]),
    ("tonic", &["proto/src", "server/src/grpc", "server/src/cli/serve.rs"]),
];

/// Longest source file, in lines, tests included.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below the root with one of these endings, relative to it; caches and builds left out.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" && name != "__pycache__" {
                    folders.push(path);
                }
            } else if endings.iter().any(|e| name.ends_with(e)) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn is_test(path: &Path) -> bool {
    let text = path.to_str().unwrap();
    text.contains("/tests") || text.contains("/benches/") || text.starts_with("tests/") || text.starts_with("bench/")
}

#[test]
fn arrows_go_one_way() {
    let mut wrong = Vec::new();
    for (room, allowed) in ARROWS {
        let manifest: toml::Table = read(&Path::new(room).join("Cargo.toml")).parse().unwrap();
        let known: BTreeSet<&str> = manifest
            .get("dependencies")
            .and_then(|d| d.as_table())
            .map(|d| d.keys().map(String::as_str).filter(|n| n.starts_with("fromagerie")).collect())
            .unwrap_or_default();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        wrong.extend(known.difference(&allowed).map(|name| format!("{room} must not know {name}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_listed() {
    let workspace: toml::Table = read(Path::new("Cargo.toml")).parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().filter_map(|m| m.as_str()).collect();
    assert_eq!(members, ARROWS.iter().map(|(room, _)| *room).collect());
}

#[test]
fn one_dependency_has_one_owner() {
    let mut wrong = Vec::new();
    for path in files(&[".rs"]).into_iter().filter(|p| !is_test(p)) {
        let place = path.to_str().unwrap();
        for (number, line) in read(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (name, owners) in OWNERS {
                if names_crate(code, name) && !owners.iter().any(|owner| place.starts_with(owner)) {
                    wrong.push(format!("{place}:{}: {name} belongs to {}", number + 1, owners.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// True when `code` names the crate itself: `name::` at the start of a path.
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let local =
            code[..at].ends_with("crate::") || code[..at].ends_with("self::") || code[..at].ends_with("super::");
        !local && before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':'))
    }) && !code.contains(&format!("mod {name}"))
        && !code.trim_start().starts_with(&format!("pub use {name}::"))
        && !code.trim_start().starts_with(&format!("use {name}::{{ImageError"))
}

#[test]
fn every_file_tells_its_story() {
    let silent: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these files do not say why they exist (`//!` at the top):\n{}", silent.join("\n"));
}

#[test]
fn files_hold_one_thought() {
    let long: BTreeMap<_, _> = files(&[".rs", ".py"])
        .into_iter()
        .map(|path| (path.display().to_string(), read(&path).lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:?}");
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for path in files(&[".md"]) {
        let folder = path.parent().unwrap();
        for link in read(&path).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let is_local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            if is_local && !root().join(folder).join(target).exists() {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("todo", "!("), concat!("dbg", "!(")];
    let mut found = Vec::new();
    for path in files(&[".rs", ".py", ".md", ".proto", ".toml", ".sh"]) {
        for (number, line) in read(&path).lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                found.push(format!("{}:{}: {mark}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
