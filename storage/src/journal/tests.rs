//! Goal: a torn tail is cut and damage is reported, and never one for the other. Method: journals of small groups
//! built in memory, then cut, zeroed or changed at every place where that can happen.

use std::path::Path;

use super::*;
use crate::batch::{Document, Op, Record, VectorType};
use crate::codec;
use crate::journal::HEADER;

const IDENTITY: Identity = Identity { collection: 5, first_sequence: 1 };

/// A journal with the given number of batches in each group; returns it with the end of every record.
fn journal(groups: &[usize], thumbnail_bytes: usize) -> (Vec<u8>, Vec<usize>) {
    let mut file = codec::frame(HEADER, &IDENTITY);
    let mut ends = Vec::new();
    let mut sequence = 1;
    for &batches in groups {
        let durable = file.len() as u64;
        for _ in 0..batches {
            let document = Document { thumbnail: vec![0; thumbnail_bytes], ..Document::default() };
            let record = Record { key: format!("k{sequence}"), vector: vec![1.0], features: None, document };
            let payload = record::encode_batch(&Batch::new(vec![Op::Put(record)]), VectorType::F32).unwrap();
            record::push(&mut file, IDENTITY.seed(), sequence, durable, &payload);
            ends.push(file.len());
            sequence += 1;
        }
    }
    (file, ends)
}

fn read(file: &[u8]) -> Result<ScanEnd, StorageError> {
    scan(Path::new("journal"), file, IDENTITY, true, &mut |_, _| Ok(()))
}

#[test]
fn cut_anywhere_leaves_the_records_before_the_cut() {
    let (file, ends) = journal(&[1, 2, 1], 30);
    let header = codec::frame(HEADER, &IDENTITY).len();
    for cut in header..=file.len() {
        let whole = ends.iter().filter(|&&end| end <= cut).count() as u64;
        let end = read(&file[..cut]).unwrap();
        assert_eq!(end.next_sequence, whole + 1, "cut at {cut}");
        assert_eq!(end.good_bytes + end.torn_bytes, cut as u64);
    }
}

#[test]
fn every_changed_byte_is_damage_in_the_right_record() {
    let (file, ends) = journal(&[1, 2, 2], 700);
    for at in 0..file.len() {
        let mut file = file.clone();
        file[at] ^= 0x10;
        let damage = read(&file).unwrap_err();
        let offset = damage.damage().expect("damage").offset as usize;
        let header = codec::frame(HEADER, &IDENTITY).len();
        let start = if at < header { 0 } else { ends.iter().copied().filter(|&end| end <= at).max().unwrap_or(header) };
        assert_eq!(offset, start, "byte {at}");
    }
}

#[test]
fn an_unwritten_sector_in_the_last_group_is_a_torn_tail() {
    let (file, ends) = journal(&[1, 3], 2000);
    let first_group = ends[0];
    for sector in first_group.div_ceil(512)..file.len() / 512 {
        let mut file = file.clone();
        file[sector * 512..(sector + 1) * 512].fill(0);
        let end = read(&file).unwrap();
        let good = ends.iter().filter(|&&end| end <= sector * 512).count() as u64;
        assert_eq!(end.next_sequence, good + 1, "sector {sector}");
    }
}

#[test]
fn an_unwritten_sector_before_the_last_group_is_damage() {
    let (mut file, ends) = journal(&[2, 1], 2000);
    file[1024..1536].fill(0);
    let damage = read(&file).unwrap_err();
    assert_eq!(damage.damage().unwrap().offset, codec::frame(HEADER, &IDENTITY).len() as u64);
    assert!(ends[1] > 1536);
}

#[test]
fn a_journal_with_a_successor_has_no_torn_tail() {
    let (file, _) = journal(&[1, 1], 30);
    let cut = &file[..file.len() - 1];
    assert!(read(cut).is_ok());
    assert!(scan(Path::new("journal"), cut, IDENTITY, false, &mut |_, _| Ok(())).is_err());
}

#[test]
fn records_of_another_journal_are_not_believed() {
    let (file, _) = journal(&[2], 30);
    let other = Identity { collection: 6, ..IDENTITY };
    let head = codec::frame(HEADER, &IDENTITY).len();
    let mut forged = codec::frame(HEADER, &other);
    forged.extend_from_slice(&file[head..]);
    assert!(scan(Path::new("journal"), &forged, other, true, &mut |_, _| Ok(())).is_err());
}
