//! Goal: the simulated disk loses what a real one may lose, and nothing else. Method: small runs whose every possible
//! outcome is known.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const KEPT: CatalogLoss = CatalogLoss::Nothing;

fn read(disk: &SimulatedDisk, path: &str) -> Option<Vec<u8>> {
    disk.map(Path::new(path)).ok().map(|mapping| mapping.bytes().to_vec())
}

/// What `look` sees after many losses of power.
fn outcomes<T: Ord>(disk: &SimulatedDisk, look: impl Fn(&SimulatedDisk) -> T) -> BTreeSet<T> {
    (0..300).map(|seed| look(&disk.power_lost(Loss::Some(seed), KEPT))).collect()
}

#[test]
fn content_is_safe_after_its_sync_and_a_name_after_its_directorys() {
    let disk = SimulatedDisk::default();
    let mut file = disk.create(Path::new("/a")).unwrap();
    file.append(b"one").unwrap();
    file.sync().unwrap();
    assert_eq!(read(&disk.power_lost(Loss::Everything, KEPT), "/a"), None);
    disk.sync_dir(Path::new("/")).unwrap();
    file.append(b"two").unwrap();
    assert_eq!(read(&disk, "/a").unwrap(), b"onetwo");
    assert_eq!(read(&disk.power_lost(Loss::Everything, KEPT), "/a").unwrap(), b"one");
    assert_eq!(read(&disk.power_lost(Loss::Nothing, KEPT), "/a").unwrap(), b"onetwo");
    let all = outcomes(&disk, |disk| read(disk, "/a").unwrap());
    assert!(all.contains(&b"one"[..]) && all.contains(&b"onetwo"[..]) && all.contains(&b"one\0\0\0"[..]), "{all:?}");
    assert_eq!(all.len(), 3);
}

#[test]
fn sectors_tear_one_by_one() {
    let disk = SimulatedDisk::default();
    let mut file = disk.create(Path::new("/a")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.append(&[7; 3 * 512]).unwrap();
    let shape =
        |disk: &SimulatedDisk| read(disk, "/a").unwrap().chunks(512).map(|sector| sector[0]).collect::<Vec<u8>>();
    let all = outcomes(&disk, shape);
    assert_eq!(all.len(), 1 + 2 + 4 + 8, "every length, and every subset of the sectors of each: {all:?}");
    let garbage = |seed| read(&disk.power_lost(Loss::Garbage(seed), KEPT), "/a").unwrap();
    assert!((0..100).any(|seed| garbage(seed).iter().any(|byte| ![0, 7].contains(byte))));
}

#[test]
fn names_come_and_go_in_any_order_that_they_allow() {
    let disk = SimulatedDisk::default();
    for name in ["/old", "/new.tmp"] {
        disk.create(Path::new(name)).unwrap();
    }
    disk.sync_dir(Path::new("/")).unwrap();
    disk.rename(Path::new("/new.tmp"), Path::new("/new")).unwrap();
    disk.remove_file(Path::new("/old")).unwrap();
    let names =
        |disk: &SimulatedDisk| disk.list(Path::new("/")).unwrap().into_iter().map(|e| e.name).collect::<Vec<_>>();
    let all = outcomes(&disk, names);
    let expected = [vec!["new"], vec!["new", "old"], vec!["new.tmp"], vec!["new.tmp", "old"]];
    assert_eq!(all, expected.iter().map(|names| names.iter().map(|&n| n.to_owned()).collect()).collect());
}

#[test]
fn a_directory_is_synced_by_its_parent_and_removed_after_its_files() {
    let disk = SimulatedDisk::default();
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create(Path::new("/d/f")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert!(disk.power_lost(Loss::Everything, KEPT).list(Path::new("/d")).is_err());
    disk.sync_dir(Path::new("/")).unwrap();
    disk.remove_dir(Path::new("/d")).unwrap();
    let count = |disk: &SimulatedDisk| disk.files().len();
    assert_eq!(outcomes(&disk, count), BTreeSet::from([0, 1, 2]), "never the directory before its file");
}

#[test]
fn a_failed_sync_loses_the_pages_and_the_next_one_succeeds() {
    let disk = SimulatedDisk::default();
    let mut file = disk.create(Path::new("/a")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.append(b"lost").unwrap();
    disk.set(Fault::Once(1, Failure::FileSync));
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok());
    file.append(b"kept").unwrap();
    file.sync().unwrap();
    assert_eq!(read(&disk, "/a").unwrap(), b"lostkept", "still in the page cache");
    assert_eq!(read(&disk.power_lost(Loss::Nothing, KEPT), "/a").unwrap(), b"\0\0\0\0kept");
    file.rewrite(0, b"lost").unwrap();
    file.sync().unwrap();
    assert_eq!(read(&disk.power_lost(Loss::Everything, KEPT), "/a").unwrap(), b"lostkept", "written again");
}

#[test]
fn a_killed_process_leaves_what_it_wrote_and_a_replay_stands_at_every_event() {
    let disk = SimulatedDisk::default();
    disk.create(Path::new("/a")).unwrap();
    disk.mark();
    disk.create(Path::new("/b")).unwrap();
    let trace = disk.trace();
    let mut replay = trace.replay();
    let mut seen = Vec::new();
    while replay.step() {
        let killed = replay.killed();
        seen.push((replay.marks(), killed.files().len(), killed.power_lost(Loss::Everything, KEPT).files().len()));
    }
    assert_eq!(seen, [(0, 0, 0), (1, 1, 0), (1, 1, 0), (1, 2, 0)]);
    assert_eq!(replay.killed().fingerprint(), disk.fingerprint());
}

#[test]
fn a_full_disk_takes_what_fits_and_removals_make_room() {
    let disk = SimulatedDisk::default();
    disk.set_capacity(Some(10));
    let mut file = disk.create(Path::new("/a")).unwrap();
    assert_eq!(file.append(&[1; 16]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((disk.used(), disk.free_bytes(Path::new("/")).unwrap()), (10, 0));
    disk.remove_file(Path::new("/a")).unwrap();
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 10);
}
