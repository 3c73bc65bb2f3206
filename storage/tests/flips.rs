//! Goal: no changed byte is believed, whichever and wherever. Method: flip one bit at a time, at random in every kind
//! of file (1,000 each; in a segment 1,000 over its parts, 1,000 in each under `FROMAGERIE_TORTURE`) and in every byte
//! of every header and manifest; cut files at every 4 KiB; swap, duplicate and remove them. After each the database is
//! opened, read to the last field, verified, and compared with what was written: every change must be noticed, and what
//! can be read must be true. The test prints how each was noticed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;
#[path = "common/spoil.rs"]
mod spoil;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use common::random::{Random, torture};
use spoil::{Cellar, Noticed};

/// How often each kind of change was noticed how.
#[derive(Default)]
struct Table(BTreeMap<String, BTreeMap<Noticed, usize>>);

impl Table {
    fn add(&mut self, kind: &str, noticed: Noticed) {
        *self.0.entry(kind.to_owned()).or_default().entry(noticed).or_default() += 1;
    }

    fn count(&self, kind: &str, noticed: Noticed) -> usize {
        self.0.get(kind).and_then(|row| row.get(&noticed)).copied().unwrap_or(0)
    }

    fn total(&self, kind: &str) -> usize {
        self.0.get(kind).map_or(0, |row| row.values().sum())
    }

    fn print(&self) {
        for (kind, row) in &self.0 {
            println!("{kind}: {} changes, {row:?}", self.total(kind));
        }
    }

    /// Nothing of this kind went unnoticed or was taken for a torn tail.
    fn all_noticed(&self, kind: &str) {
        assert!(self.total(kind) > 0, "{kind}: nothing was tried");
        for silent in [Noticed::Harmless, Noticed::CutAsTorn] {
            assert_eq!(self.count(kind, silent), 0, "{kind}: {silent:?}");
        }
    }
}

/// Flips one bit of the byte `at` and looks.
fn flip(cellar: &Cellar, table: &mut Table, kind: &str, (path, good): (&Path, &[u8]), at: usize, bit: usize) {
    let mut bad = good.to_vec();
    bad[at] ^= 1 << bit;
    let noticed = cellar.with(path, &bad, &format!("{} byte {at} bit {bit}", path.display()));
    table.add(kind, noticed);
}

fn read_u64(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn read_u32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The regions of a segment's file, as `docs/FORMAT.md` draws them.
fn regions(file: &[u8]) -> Vec<(&'static str, Range<usize>)> {
    const PARTS: [&str; 9] = [
        "vectors",
        "key offsets",
        "keys",
        "key order",
        "document offsets",
        "documents",
        "feature rows",
        "features",
        "graph",
    ];
    let (tail, footer) = (file.len() - 16, read_u64(file, file.len() - 16));
    let mut regions =
        vec![("header", 0..20 + read_u32(file, 12)), ("footer", footer..tail), ("tail", tail..file.len())];
    // After the footer's frame head: segment u64, rows u32, count u64, then the parts.
    let count = read_u64(file, footer + 32);
    for part in 0..count {
        let at = footer + 40 + part * 32;
        let (kind, offset, bytes) = (read_u32(file, at), read_u64(file, at + 4), read_u64(file, at + 12));
        let sums = read_u64(file, at + 20);
        regions.push((PARTS[kind - 1], offset..offset + bytes));
        regions.push(("checksums", sums..sums + bytes.div_ceil(65_536) * 4));
    }
    regions.sort_by_key(|(_, range)| range.start);
    let gaps: Vec<_> = regions.windows(2).map(|pair| ("padding", pair[0].1.end..pair[1].1.start)).collect();
    regions.extend(gaps.into_iter().filter(|(_, range)| !range.is_empty()));
    regions
}

/// Every byte of the head of a journal and of those of its records.
fn journal_heads(file: &[u8]) -> Vec<usize> {
    let mut heads: Vec<usize> = (0..36).collect();
    let mut at = 36;
    while at < file.len() {
        let stored: Vec<u8> = file[at..at + 4].iter().map(|byte| byte ^ 0xA5).collect();
        heads.extend(at..at + 32);
        at += 32 + read_u32(&stored, 0);
    }
    heads
}

#[test]
fn a_flipped_bit_of_a_segment_is_noticed_in_every_part() {
    let (cellar, mut table, mut random) = (Cellar::new(400), Table::default(), Random::new(2));
    let segments = cellar.files("segment-");
    assert_eq!(segments.len(), 3);
    let kinds: Vec<&str> = {
        let mut kinds: Vec<_> = regions(&segments[0].1).into_iter().map(|(kind, _)| kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds.len(), 14, "{kinds:?}");
    let each = if torture() { 1000 } else { 1000 / kinds.len() + 1 };
    for kind in &kinds {
        for _ in 0..each {
            let (path, good) = &segments[random.below(segments.len())];
            let of_kind: Vec<_> = regions(good).into_iter().filter(|(name, _)| name == kind).collect();
            if let Some((_, range)) = of_kind.get(random.below(of_kind.len().max(1))) {
                let at = range.start + random.below(range.len());
                flip(&cellar, &mut table, &format!("segment, {kind}"), (path, good), at, random.below(8));
            }
        }
    }
    for (path, good) in &segments {
        for (kind, range) in regions(good).into_iter().filter(|(kind, _)| ["header", "footer", "tail"].contains(kind)) {
            for at in range {
                flip(&cellar, &mut table, &format!("segment, every byte of {kind}"), (path, good), at, random.below(8));
            }
        }
    }
    table.print();
    table.0.keys().for_each(|kind| table.all_noticed(kind));
}

#[test]
fn a_flipped_bit_of_a_manifest_or_a_journal_is_noticed() {
    let (cellar, mut table, mut random) = (Cellar::new(160), Table::default(), Random::new(3));
    for (kind, prefix) in [("manifest", "manifest-"), ("journal", "journal-")] {
        let files = cellar.files(prefix);
        for _ in 0..1000 {
            let (path, good) = &files[random.below(files.len())];
            flip(&cellar, &mut table, kind, (path, good), random.below(good.len()), random.below(8));
        }
        for (path, good) in files {
            let (all, every): (Vec<usize>, _) = match kind {
                "manifest" => ((0..good.len()).collect(), "manifest, every byte"),
                _ => (journal_heads(&good), "journal, every byte of a head"),
            };
            for at in all {
                flip(&cellar, &mut table, every, (&path, &good), at, random.below(8));
            }
        }
    }
    table.print();
    table.0.keys().for_each(|kind| table.all_noticed(kind));
}

#[test]
fn a_flipped_bit_of_the_small_files_is_mended_and_told() {
    let (cellar, mut table, mut random) = (Cellar::new(40), Table::default(), Random::new(4));
    for (kind, prefix) in [("database file", "database.fmd"), ("aliases", "aliases.fma")] {
        let (path, good) = &cellar.files(prefix)[0];
        for at in 0..good.len() {
            flip(&cellar, &mut table, &format!("{kind}, every byte"), (path, good), at, random.below(8));
        }
        for _ in 0..1000 {
            flip(&cellar, &mut table, kind, (path, good), random.below(good.len()), random.below(8));
        }
    }
    table.print();
    table.0.keys().for_each(|kind| assert_eq!(table.count(kind, Noticed::Mended), table.total(kind), "{kind}"));
}

/// Pages that are free keep bytes that mean nothing. What counts is that nothing is at risk but sessions, which only the
/// catalog knows, and that none of them goes without a word.
#[test]
fn a_flipped_bit_of_the_catalog_is_noticed_or_means_nothing() {
    let (cellar, mut table, mut random) = (Cellar::new(40), Table::default(), Random::new(5));
    let files = cellar.files("catalog.redb");
    let [(path, good)] = &files[..] else { panic!("the catalog is one file") };
    let used: Vec<usize> = (0..good.len()).filter(|at| good[*at] != 0).collect();
    for _ in 0..1000 {
        let at = used[random.below(used.len())];
        flip(&cellar, &mut table, "catalog", (path, good), at, random.below(8));
    }
    for length in (0..good.len()).step_by(4096).take(200) {
        table.add("catalog, cut", cellar.with(path, &good[..length], "the catalog, cut"));
    }
    std::fs::remove_file(path).unwrap();
    table.add("catalog, missing", cellar.look("the catalog is missing"));
    table.print();
    assert!(table.count("catalog", Noticed::Mended) > 0);
    table.all_noticed("catalog, missing");
}

#[test]
fn a_file_cut_short_is_noticed() {
    let (cellar, mut table) = (Cellar::new(400), Table::default());
    for (kind, prefix, step) in
        [("segment", "segment-", 4096), ("manifest", "manifest-", 97), ("journal", "journal-", 97)]
    {
        for (path, good) in cellar.files(prefix) {
            for length in (0..good.len()).step_by(step) {
                let what = format!("{} cut to {length}", path.display());
                table.add(&format!("{kind}, cut"), cellar.with(&path, &good[..length], &what));
            }
        }
    }
    table.print();
    table.all_noticed("segment, cut");
    table.all_noticed("manifest, cut");
    // In the file it looks as after a crash; the catalog knows that the batches behind were durable.
    table.all_noticed("journal, cut");
}
