//! Goal: a full disk costs nothing but the writes that do not fit, and no restart, on a real file system with a real
//! `redb`. Method: a small tmpfs of its own, filled to the last byte. Needs root and `mount`; says so and passes without.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{contents, options, record, spec};
use fromagerie_storage::{Batch, Collection, Op, StorageError, Store, StoreOptions};

/// A mounted tmpfs; unmounted when dropped.
struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    fn of_24_mib() -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Mount { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.path("ballast")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Gives room to write everything once more.
    fn make_room(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
        let larger = Command::new("mount").args(["-o", "remount,size=96m"]).arg(self.dir.path()).status();
        assert!(larger.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.dir.path().display());
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions { in_background: true, ..options() }).unwrap()
}

/// An item of 4 KiB.
fn put(key: &str) -> Batch {
    let mut record = record(key, 7);
    record.document.thumbnail = vec![9; 4096];
    Batch::new(vec![Op::Put(record)])
}

fn is_full<T>(result: &Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::DiskFull { .. }))
}

/// Writes until the disk is full; returns how many were acknowledged.
fn write_until_full(collection: &Collection) -> usize {
    let refused = (0..).map(|n| collection.write(put(&format!("k{n}")))).position(|result| result.is_err()).unwrap();
    assert!(is_full(&collection.write(put("more"))));
    refused
}

#[test]
fn a_full_disk_serves_reads_takes_deletes_and_needs_no_restart() {
    let Some(mount) = Mount::of_24_mib() else {
        println!("skipped: a tmpfs cannot be mounted here");
        return;
    };
    let dir = mount.path("cellar");
    let store = open(&dir);
    let collection = store.create_collection("photos", spec()).unwrap();
    store.create_collection("prints", spec()).unwrap().write(put("a")).unwrap();
    store.put_session("before", b"kept").unwrap();
    collection.write(put("sealed")).unwrap();
    collection.seal().unwrap();
    let written = write_until_full(&collection) + 1;
    mount.fill();
    println!("{written} items of 4 KiB on 24 MiB");
    assert!(written > 1000, "{written}");

    // Writes say so, and reads go on.
    let refused = collection.write(put("refused")).unwrap_err();
    assert!(refused.to_string().contains("no space left"), "{refused}");
    assert!(is_full(&collection.seal()));
    assert!(store.create_collection("slides", spec()).is_err());
    assert_eq!(contents(&collection.snapshot()).len(), written);
    assert!(store.verify(&mut |_| {}).unwrap().is_clean());
    assert_eq!(store.session("before").unwrap().as_deref(), Some(&b"kept"[..]));
    let session = store.put_session("refused", &[7; 100_000]);
    assert!(session.is_err() || store.session("refused").unwrap().is_some());

    // Deletes work.
    for n in 0..200 {
        let deleted = collection.write(common::delete(&format!("k{n}"))).unwrap();
        assert_eq!(deleted.deleted, 1, "{n}");
    }
    mount.fill();
    store.drop_collection("prints").unwrap();
    let left = contents(&collection.snapshot());
    assert_eq!(left.len(), written - 200);

    // A process that is started now reads all of it, and deletes.
    drop((collection, store));
    mount.fill();
    let store = open(&dir);
    let collection = store.collection("photos").unwrap();
    assert_eq!(contents(&collection.snapshot()), left);
    mount.fill();
    assert!(is_full(&collection.write(put("refused"))));

    // Room comes back, and everything goes on in the same process.
    mount.make_room();
    collection.write(put("after")).unwrap();
    collection.seal().unwrap();
    store.put_session("after", b"goes on").unwrap();
    store.create_collection("slides", spec()).unwrap().write(put("a")).unwrap();
    assert_eq!(contents(&collection.snapshot()).len(), left.len() + 1);
    assert!(dir.join("reserve.fmr").exists(), "the reserve is there again");
    drop((collection, store));
    let store = open(&dir);
    assert_eq!(contents(&store.collection("photos").unwrap().snapshot()).len(), left.len() + 1);
    assert_eq!(store.session("after").unwrap().as_deref(), Some(&b"goes on"[..]));
    assert!(store.verify(&mut |_| {}).unwrap().is_clean());
}
