//! Goal: a file is believed only in its own place. Method: put the files of a database into each other's places, older
//! ones into newer ones', double them and remove them, and look how each is noticed.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/spoil.rs"]
mod spoil;

use std::path::{Path, PathBuf};

use fromagerie_storage::{OpenNote, Store};
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

/// Writes another database's file, or an older one, in the place of `path`, opens, and returns the notes.
fn opened_with(cellar: &Cellar, path: &Path, bytes: &[u8]) -> Vec<OpenNote> {
    std::fs::write(path, bytes).unwrap();
    let store = Store::open(cellar.dir(), common::options()).unwrap();
    let named = store.aliases();
    assert_eq!(named, [("best".into(), "photos".into()), ("worst".into(), "other".into())]);
    assert!(store.verify(&mut |_| ()).unwrap().is_clean(), "what was restored is whole");
    store.notes().to_vec()
}

#[test]
fn an_older_file_of_aliases_is_noticed() {
    let cellar = Cellar::new(40);
    let path = cellar.dir().join("aliases.fma");
    let store = common::open(cellar.dir());
    let mut older = vec![std::fs::read(&path).unwrap()];
    for (alias, name) in [("best", "other"), ("worst", "photos"), ("best", "photos"), ("worst", "other")] {
        store.set_alias(alias, name).unwrap();
        older.push(std::fs::read(&path).unwrap());
    }
    let newest = older.pop().unwrap();
    // Also the first, which names the same collections.
    for (change, old) in older.iter().enumerate() {
        std::fs::write(&path, old).unwrap();
        let report = store.verify(&mut |_| ()).unwrap();
        assert!(report.damages.iter().any(|damage| damage.path == path), "change {change}: {report:?}");
    }
    drop(store);
    for (change, old) in older.iter().enumerate() {
        let notes = opened_with(&cellar, &path, old);
        assert!(matches!(&notes[..], [OpenNote::AliasesRestored { cause }] if cause.contains("older")), "{notes:?}");
        assert_eq!(std::fs::read(&path).unwrap(), newest, "change {change}: restored to the last byte");
        let kept: Vec<_> =
            common::files(cellar.dir(), "aliases.fma").into_iter().filter(|kept| *kept != path).collect();
        assert_eq!(kept.len(), change + 1, "what was replaced is kept");
    }
}

#[test]
fn a_file_of_another_database_is_noticed() {
    let (cellar, other) = (Cellar::new(40), Cellar::new(40));
    let foreign = |name: &str| std::fs::read(other.dir().join(name)).unwrap();
    let (aliases, database) = (cellar.dir().join("aliases.fma"), cellar.dir().join("database.fmd"));
    let notes = opened_with(&cellar, &aliases, &foreign("aliases.fma"));
    assert!(matches!(&notes[..], [OpenNote::AliasesRestored { cause }] if cause.contains("database")), "{notes:?}");
    let notes = opened_with(&cellar, &database, &foreign("database.fmd"));
    assert!(matches!(&notes[..], [OpenNote::DatabaseFileRestored { .. }]), "{notes:?}");
    assert_eq!(cellar.look("as after the restorations"), Noticed::Harmless);

    std::fs::copy(other.dir().join("catalog.redb"), cellar.dir().join("catalog.redb")).unwrap();
    let store = common::open(cellar.dir());
    assert!(matches!(store.notes()[0], OpenNote::CatalogRebuilt { .. }), "{:?}", store.notes());
    assert_eq!(store.session("s1").unwrap(), None, "another database's session is not shown");
    assert!(store.damaged().is_empty() && store.aliases().len() == 2);
}

#[test]
fn aliases_without_a_witness_are_lost_and_told() {
    let (cellar, other) = (Cellar::new(40), Cellar::new(40));
    std::fs::remove_file(cellar.dir().join("catalog.redb")).unwrap();
    std::fs::copy(other.dir().join("aliases.fma"), cellar.dir().join("aliases.fma")).unwrap();
    let store = common::open(cellar.dir());
    assert!(store.aliases().is_empty());
    assert!(store.notes().iter().any(|note| matches!(note, OpenNote::AliasesLost { .. })), "{:?}", store.notes());
}

#[test]
fn a_restored_database_is_another_one() {
    let (cellar, dir) = (Cellar::new(40), common::tempdir());
    let (copy, restored) = (dir.path().join("copy"), dir.path().join("restored"));
    common::open(cellar.dir()).snapshot_to(&copy, false, &mut |_| ()).unwrap();
    Store::restore(&copy, &restored, false, common::options(), &mut |_| ()).unwrap();
    let notes =
        opened_with(&cellar, &cellar.dir().join("aliases.fma"), &std::fs::read(restored.join("aliases.fma")).unwrap());
    assert!(matches!(&notes[..], [OpenNote::AliasesRestored { .. }]), "{notes:?}");
}

/// The journal's records end where the next one begins: nothing in the file tells of a cut there.
#[test]
fn a_journal_cut_between_two_records_is_noticed_and_repaired() {
    let cellar = Cellar::new(40);
    for (path, good) in cellar.files("journal-") {
        for length in record_ends(&good) {
            let what = format!("{} cut to {length} of {}", path.display(), good.len());
            let noticed = cellar.with(&path, &good[..length], &what);
            assert_eq!(noticed, if length < good.len() { Noticed::AtOpen } else { Noticed::Harmless }, "{what}");
        }
    }
    let (path, good) = cellar.files("journal-").into_iter().max_by_key(|(_, good)| good.len()).unwrap();
    let ends = record_ends(&good);
    let half = ends.len() / 2;
    std::fs::write(&path, &good[..ends[half]]).unwrap();
    let store = common::open(cellar.dir());
    let name = store.damaged()[0].name.clone();
    let report = store.repair(&name, true, &|_| None, &mut |_| ()).unwrap();
    let lost = report.lost_batches.as_ref().unwrap();
    assert!(report.moved_to.is_some() && lost.readable == 0, "{report:?}");
    assert!(store.verify(&mut |_| ()).unwrap().is_clean());
    drop(store);
    assert!(common::open(cellar.dir()).damaged().is_empty());
}

/// Where the head and each record end. Lengths are stored XOR 0xA5.
fn record_ends(journal: &[u8]) -> Vec<usize> {
    let mut ends = vec![36];
    while *ends.last().unwrap() < journal.len() {
        let at = *ends.last().unwrap();
        let length: [u8; 4] = std::array::from_fn(|n| journal[at + n] ^ 0xA5);
        ends.push(at + 32 + u32::from_le_bytes(length) as usize);
    }
    assert_eq!(*ends.last().unwrap(), journal.len());
    ends
}
