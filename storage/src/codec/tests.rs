//! Goal: whatever bytes a decoder is given, it answers Ok or Err. Method: arbitrary bytes, and good bytes with one
//! byte changed, for every structure that is read from disk; a changed frame must be refused.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::VectorType;
use crate::batch::{Batch, CollectionSpec, Document, Op, Record};
use crate::journal::{self, Identity, record, scan};
use crate::manifest::{self, Manifest, SegmentEntry};
use crate::segment::dead::StoredDead;
use crate::segment::layout;

fn sample_manifest() -> Manifest {
    Manifest {
        collection: 7,
        generation: 3,
        name: "photos".into(),
        spec: CollectionSpec {
            dim: 4,
            vector_type: VectorType::F16,
            space: Some([9; 32]),
            feature_dim: 2,
            settings: "{}".into(),
        },
        sequence: 11,
        next_segment: 2,
        segments: vec![SegmentEntry {
            id: 1,
            file_bytes: 4096,
            rows: 10,
            footer_crc: 5,
            dead: StoredDead::List(vec![3]),
        }],
        receipts: Vec::new(),
    }
}

fn sample_batch() -> Batch {
    let document = Document { caption: "a cat".into(), ..Document::default() };
    let record = Record { key: "cat".into(), vector: vec![1.0, 2.0], features: Some(vec![0.5]), document };
    Batch::new(vec![Op::Put(record), Op::Delete { key: "dog".into() }]).with_request_id("r1")
}

proptest! {
    #[test]
    fn garbage_is_answered_not_believed(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let path = Path::new("garbage");
        prop_assert!(manifest::parse(&bytes).is_err());
        prop_assert!(layout::read(path, &bytes).is_err());
        let _ = record::decode_batch(&bytes);
        let _ = decode::<Document>(&bytes);
        let _ = decode::<Manifest>(&bytes);
        let _ = decode::<layout::Footer>(&bytes);
        let identity = Identity { collection: 1, first_sequence: 1 };
        prop_assert!(record::header_at(&bytes, 0, identity.seed()).is_none());
        let scanned = scan::scan(path, &bytes, identity, true, &mut |_, _| Ok(()));
        prop_assert!(scanned.is_err());
        let _ = journal::first_sequence_of(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_changed_manifest_is_refused(at in 0_usize..200, flip in 1_u8..) {
        let mut bytes = sample_manifest().to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(manifest::parse(&bytes).is_err());
    }

    #[test]
    fn a_changed_batch_never_panics(at in 0_usize..200, flip in 1_u8..) {
        let mut payload = record::encode_batch(&sample_batch(), VectorType::F32).unwrap();
        let at = at % payload.len();
        payload[at] ^= flip;
        let _ = record::decode_batch(&payload);
    }
}

#[test]
fn good_bytes_come_back() {
    let manifest = sample_manifest();
    assert_eq!(manifest::parse(&manifest.to_bytes()).unwrap(), manifest);
    let batch = sample_batch();
    assert_eq!(record::decode_batch(&record::encode_batch(&batch, VectorType::F32).unwrap()), Some(batch));
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    // A vector of 2^60 floats announced in eight bytes.
    let mut bytes = encode(&1_u64);
    bytes.copy_from_slice(&(1_u64 << 60).to_le_bytes());
    assert!(decode::<Vec<f32>>(&bytes).is_none());
    // One of 2^20, which memory would hold and the limit for such a short input does not.
    bytes.copy_from_slice(&(1_u64 << 20).to_le_bytes());
    assert!(decode::<Vec<f32>>(&bytes).is_none());
}

/// The bytes of version 1. A change here is a change of the format: it needs a new version.
#[test]
fn version_1_is_what_it_was() {
    let bytes = sample_manifest().to_bytes();
    assert_eq!(&bytes[..16], b"FROMMNFT\x01\x00\x00\x00\x9d\x00\x00\x00");
    assert_eq!(bytes.len(), 20 + 0x9d);
    let mut plain = record::encode_batch(&sample_batch(), VectorType::F32).unwrap();
    plain.iter_mut().for_each(|byte| *byte ^= 0xA5);
    assert_eq!(
        hex::encode(&plain[..40]),
        "01020000000000000072310200000000000000030000000000000063617402000000000000000000"
    );
    let halves = Record { key: "cat".into(), vector: vec![1.0, -2.0], ..Record::default() };
    let mut plain = record::encode_batch(&Batch::new(vec![Op::Put(halves)]), VectorType::F16).unwrap();
    plain.iter_mut().for_each(|byte| *byte ^= 0xA5);
    assert_eq!(hex::encode(&plain[..32]), "00010000000200000003000000000000006361740200000000000000003c00c0");
}
