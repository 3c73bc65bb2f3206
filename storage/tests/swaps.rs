//! Goal: a file is believed only in its own place. Method: put the files of a database into each other's places, older
//! ones into newer ones', double them and remove them, and look how each is noticed.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/spoil.rs"]
mod spoil;

use std::path::{Path, PathBuf};

use spoil::{Cellar, Noticed};

/// `good` in the place of each other file of its kind.
fn swapped(cellar: &Cellar, prefix: &str) -> usize {
    let files = cellar.files(prefix);
    let mut tried = 0;
    for (path, _) in &files {
        for (_, other) in files.iter().filter(|(other, _)| other != path) {
            let what = format!("another file in the place of {}", path.display());
            assert!(cellar.with(path, other, &what) <= Noticed::OnTouch, "{what}: not noticed");
            tried += 1;
        }
    }
    tried
}

#[test]
fn a_file_in_the_place_of_another_is_noticed() {
    let cellar = Cellar::new(40);
    assert_eq!(swapped(&cellar, "segment-"), 6);
    assert_eq!(swapped(&cellar, "manifest-"), 2);
    assert_eq!(swapped(&cellar, "journal-"), 2);
}

#[test]
fn a_missing_file_is_noticed() {
    let cellar = Cellar::new(40);
    for (prefix, noticed) in [
        ("segment-", Noticed::AtOpen),
        ("manifest-", Noticed::AtOpen),
        ("journal-", Noticed::AtOpen),
        ("aliases.fma", Noticed::Mended),
        ("database.fmd", Noticed::Mended),
    ] {
        for (path, _) in cellar.files(prefix) {
            std::fs::remove_file(&path).unwrap();
            assert_eq!(cellar.look(&format!("{} removed", path.display())), noticed, "{}", path.display());
        }
    }
}

/// The file's name with another number.
fn renumbered(path: &Path, change: i64) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (kind, rest) = name.split_once('-').unwrap();
    let (number, ending) = rest.split_once('.').unwrap();
    let number = u64::from_str_radix(number, 16).unwrap().checked_add_signed(change).unwrap();
    path.with_file_name(format!("{kind}-{number:016x}.{ending}"))
}

#[test]
fn a_doubled_file_is_noticed_or_does_nothing() {
    let cellar = Cellar::new(40);
    for (prefix, change, noticed) in [
        // A manifest that says that it is of another generation, and a journal that begins elsewhere.
        ("manifest-", 1, Noticed::AtOpen),
        ("journal-", 1, Noticed::AtOpen),
        // Not named by any manifest, or older than what is: removed, as after a crash.
        ("segment-", 100, Noticed::Harmless),
        ("manifest-", -1, Noticed::Harmless),
        ("journal-", -1, Noticed::Harmless),
    ] {
        for (path, good) in cellar.files(prefix) {
            let double = renumbered(&path, change);
            std::fs::write(&double, good).unwrap();
            assert_eq!(cellar.look(&format!("{} doubled", path.display())), noticed, "{}", double.display());
        }
    }
}

#[test]
fn a_stale_file_is_noticed() {
    let cellar = Cellar::new(40);
    let before: Vec<_> = ["manifest-", "journal-", "segment-"].iter().flat_map(|prefix| cellar.files(prefix)).collect();
    // The next generation, made in a copy: its files beside an old one under the new one's name.
    let newer = common::tempdir();
    common::copy_dir(cellar.dir(), newer.path());
    common::open(newer.path()).collection("photos").unwrap().seal().unwrap();
    let manifests = common::files(newer.path(), "manifest-");
    let fresh =
        manifests.iter().find(|path| !cellar.dir().join(path.strip_prefix(newer.path()).unwrap()).exists()).unwrap();
    let stale = &before
        .iter()
        .find(|(path, _)| path.parent().unwrap().file_name() == fresh.parent().unwrap().file_name())
        .unwrap()
        .1;
    std::fs::write(fresh, stale).unwrap();
    let store = common::open(newer.path());
    let damage = store.collection("photos").unwrap_err();
    assert_eq!(damage.damage().map(|damage| &damage.path), Some(fresh), "{damage}");
    drop(store);
    // And the old one under its own name, the new one gone: the catalog knows of the new one.
    std::fs::remove_file(fresh).unwrap();
    std::fs::write(renumbered(fresh, -1), stale).unwrap();
    let error = common::open(newer.path()).collection("photos").unwrap_err();
    assert!(error.damage().is_some(), "{error}");
}
