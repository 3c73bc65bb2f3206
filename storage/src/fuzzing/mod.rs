//! Entry points for fuzzing: every decoder of bytes that come from a disk, each taking any bytes for a whole file.
//!
//! Each looks at the bytes twice: as they are, and with magic numbers and checksums made right (`repair`), so that
//! what stands behind a checksum is reached as well. A decoder may refuse; it may not panic, read outside of its
//! bytes, or take more memory than a small multiple of them. What it accepts must encode to the same bytes again. Each
//! says whether anything was accepted: a corpus of which nothing is tests no more than the refusal.
//! `fuzz/` drives these with libFuzzer, `tests/fuzz.rs` with a mutation loop of its own. Not part of the API.

mod repair;

use std::path::{Path, PathBuf};

use crate::batch::{Batch, CollectionSpec, Document, Op, check};
use crate::catalog::{CollectionRecord, value};
use crate::codec;
use crate::copy::{list, records};
use crate::error::StorageError;
use crate::journal::{Identity, record, scan};
use crate::manifest;
use crate::mmap::Mapping;
use crate::receipts::Receipts;
use crate::segment::SegmentView;
use crate::segment::dead::DeadRows;
use crate::segment::layout::{self, Header};
use crate::segment::sealed::{Sealed, recheck_part};
use crate::store::aliases;
use crate::store::identity;

/// An entry point: takes any bytes, and says whether they were accepted, as they are or with checksums made right.
pub type Target = fn(&[u8]) -> bool;

/// Every entry point by the name of its corpus.
pub const TARGETS: [(&str, Target); 11] = [
    ("aliases", aliases),
    ("catalog_value", catalog_value),
    ("database_file", database_file),
    ("document", document),
    ("footer", footer),
    ("journal", journal),
    ("manifest", manifest),
    ("readable", readable),
    ("segment", segment),
    ("snapshot_list", snapshot_list),
    ("snapshot_records", snapshot_records),
];

/// The file of aliases.
pub fn aliases(bytes: &[u8]) -> bool {
    twice(bytes, repair::frame, |bytes| {
        let Ok(known) = aliases::parse(bytes) else { return false };
        assert_eq!(aliases::parse(&known.to_bytes()).ok(), Some(known));
        true
    })
}

/// The database file.
pub fn database_file(bytes: &[u8]) -> bool {
    twice(bytes, repair::frame, |bytes| {
        let Ok(record) = identity::parse(bytes) else { return false };
        assert_eq!(record.to_bytes(), bytes);
        true
    })
}

/// A manifest, with the dead rows and receipts that it lists.
pub fn manifest(bytes: &[u8]) -> bool {
    twice(bytes, repair::frame, |bytes| {
        let Ok(manifest) = manifest::parse(bytes) else { return false };
        assert_eq!(manifest.to_bytes(), bytes, "a manifest encodes to what it was decoded from");
        for entry in &manifest.segments {
            let dead = DeadRows::from_stored(&entry.dead, entry.rows);
            assert!(dead.is_none_or(|dead| dead.count() <= entry.rows));
        }
        let _ = Receipts::from_stored(manifest.receipts, 100);
        true
    })
}

/// A value of the catalog, under each kind of record.
pub fn catalog_value(bytes: &[u8]) -> bool {
    const TREE: &str = "collections";
    const KEY: &[u8] = b"01234567";
    let repair = |bytes: &mut [u8]| value::repair(TREE, KEY, bytes);
    twice(bytes, repair, |bytes| {
        let id = value::unwrap::<u64>(TREE, KEY, bytes);
        let record = value::unwrap::<CollectionRecord>(TREE, KEY, bytes);
        let opaque = value::unwrap::<Vec<u8>>(TREE, KEY, bytes);
        assert!(value::is_good(TREE, KEY, bytes) || (id.is_none() && record.is_none() && opaque.is_none()));
        let Some(record) = record else { return false };
        assert_eq!(value::wrap(TREE, KEY, &record), bytes);
        true
    })
}

/// A document of a segment, an operation of a journal, and a batch.
pub fn document(bytes: &[u8]) -> bool {
    if let Some(document) = codec::decode_all::<Document>(bytes) {
        assert_eq!(codec::encode(&document), bytes);
    }
    if let Some(op) = codec::decode_all::<Op>(bytes) {
        assert_eq!(codec::encode(&op), bytes);
    }
    let Some((batch, vector_type)) = record::decode_typed(bytes) else { return false };
    // A half that is no number may be another such half afterwards.
    let no_number = |op: &Op| matches!(op, Op::Put(record) if record.vector.iter().any(|x| x.is_nan()));
    let again = record::encode_batch(&batch, vector_type).ok();
    assert!(again.as_deref() == Some(bytes) || batch.ops.iter().any(no_number));
    !batch.ops.is_empty()
}

/// A journal, as the last one and as one with a successor.
pub fn journal(bytes: &[u8]) -> bool {
    twice(bytes, repair::journal, |bytes| {
        let identity = repair::journal_identity(bytes);
        [true, false].map(|is_last| scan_journal(bytes, identity, is_last).unwrap_or_default()).contains(&true)
    })
}

/// Whether there is a batch in it.
fn scan_journal(bytes: &[u8], identity: Identity, is_last: bool) -> Result<bool, StorageError> {
    let spec = CollectionSpec { dim: 2, feature_dim: 1, ..CollectionSpec::default() };
    let mut next = identity.first_sequence;
    let each = &mut |sequence: u64, batch: Batch| {
        assert_eq!(sequence, next, "sequences have no gaps");
        next = next.wrapping_add(1);
        let _ = check(&batch, &spec);
        Ok(())
    };
    let end = scan::scan(Path::new("journal"), bytes, identity, is_last, each)?;
    assert_eq!(end.good_bytes + end.torn_bytes, bytes.len() as u64);
    assert!(is_last || end.torn_bytes == 0, "only the last journal is cut");
    assert_eq!(end.next_sequence, next);
    Ok(next != identity.first_sequence)
}

/// What a repair tells of a journal whatever stands between its batches. Whoever scans the journal finds them too, up to
/// where it stops.
pub fn readable(bytes: &[u8]) -> bool {
    twice(bytes, repair::journal, |bytes| {
        let identity = repair::journal_identity(bytes);
        let (mut found, mut scanned) = (Vec::new(), Vec::new());
        scan::readable(bytes, identity, &mut |sequence, batch| found.push((sequence, batch.ops.len())));
        let each = &mut |sequence, batch: Batch| {
            scanned.push((sequence, batch.ops.len()));
            Ok(())
        };
        let _ = scan::scan(Path::new("journal"), bytes, identity, true, each);
        let mut rest = found.iter();
        assert!(scanned.iter().all(|batch| rest.any(|found| found == batch)), "{scanned:?} {found:?}");
        !found.is_empty()
    })
}

/// The list of a snapshot's files.
pub fn snapshot_list(bytes: &[u8]) -> bool {
    twice(bytes, repair::frame, |bytes| {
        let Ok(list) = list::parse(Path::new("list"), bytes) else { return false };
        assert_eq!(list.to_bytes(), bytes, "a list encodes to what it was decoded from");
        true
    })
}

/// The records of a snapshot: sessions and jobs.
pub fn snapshot_records(bytes: &[u8]) -> bool {
    twice(bytes, repair::frames, |bytes| {
        let mut read = 0;
        let each = &mut |_, id: Vec<u8>, value: Vec<u8>| {
            read += id.len() + value.len();
            Ok(())
        };
        let whole = records::each(Path::new("records"), bytes, each).is_ok();
        assert!(read <= bytes.len());
        whole && read > 0
    })
}

/// The footer of a segment that is damaged elsewhere, as a repair looks for it; what it finds is read.
pub fn footer(bytes: &[u8]) -> bool {
    twice(bytes, repair::footers, |bytes| {
        let head = codec::unframe::<Header>(layout::HEADER, Path::new("segment"), bytes, 0);
        let guess = Header { collection: 7, segment: 1, dim: 8, rows: 10, block_bytes: 65536, ..Header::default() };
        let header = head.map_or(guess, |head| head.value);
        let mapping = Mapping::of_bytes(bytes);
        let Some(sealed) = Sealed::salvage_of(PathBuf::from("segment"), mapping, header, None) else { return false };
        read_segment(&SegmentView::sealed(sealed.into(), DeadRows::default()))
    })
}

/// A sealed segment: opened, checked and read to the last field.
pub fn segment(bytes: &[u8]) -> bool {
    twice(bytes, repair::segment, |bytes| {
        let path = PathBuf::from("segment");
        let Ok((header, ..)) = layout::read(&path, bytes) else { return false };
        let mapping = Mapping::of_bytes(bytes);
        let Ok(sealed) = Sealed::of_mapping(path, mapping, header.segment) else { return false };
        for part in &sealed.footer.parts {
            recheck_part(&sealed.path, sealed.file(), part, "part", &mut |_| (), &mut |_| ());
        }
        read_segment(&SegmentView::sealed(sealed.into(), DeadRows::default()))
    })
}

/// Whether there is a row of which all could be read.
fn read_segment(view: &SegmentView) -> bool {
    let (mut keys, vectors) = (Vec::new(), view.vectors());
    if let Ok(vectors) = vectors {
        assert_eq!(vectors.len(), view.rows() as usize * view.dim());
        assert_eq!(vectors.to_f32().len(), vectors.len());
    }
    let _ = view.graph();
    // A header can claim rows that take no bytes; as many as a small file can hold tell enough.
    let mut whole = false;
    for row in 0..view.rows().min(4096) {
        let before = keys.len();
        keys.extend(view.key(row));
        let document = view.document(row).is_ok();
        whole |= view.features(row).is_ok() && view.vector(row).is_ok() && document && keys.len() > before;
    }
    for key in keys.into_iter().chain(["", "key"]) {
        if let Ok(Some(row)) = view.find(key) {
            assert_eq!(view.key(row).ok(), Some(key), "what is found under a key has it");
        }
    }
    whole
}

/// Looks at the bytes as they are and as repaired; whether either was accepted.
fn twice(bytes: &[u8], repair: impl Fn(&mut [u8]), look: impl Fn(&[u8]) -> bool) -> bool {
    let as_they_are = look(bytes);
    let mut repaired = bytes.to_vec();
    repair(&mut repaired);
    look(&repaired) || as_they_are
}
