//! Goal: no bytes make parsing, decoding or scoring codes panic, and no score is NaN.
//!
//! Method: arbitrary bytes; real codes cut anywhere, with bytes changed, and with header words near the limits.

mod common;

use std::sync::OnceLock;

use common::{Set, set};
use fromagerie_index::codes::{CodeKind, Codes, CodesError, PreparedQuery, encode};
use proptest::prelude::*;

const DIM: usize = 10;

fn sound() -> &'static (Set, Vec<Vec<u8>>) {
    static SOUND: OnceLock<(Set, Vec<Vec<u8>>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let set = set(60, DIM, 1);
        let bytes = CodeKind::ALL.map(|kind| encode(kind, &set.rows())).to_vec();
        (set, bytes)
    })
}

fn survive(bytes: &[u8]) {
    let Ok(codes) = Codes::parse(bytes) else { return };
    let info = codes.info();
    assert_eq!(info.bytes(), bytes.len());
    let (mut query, mut row_query) = (PreparedQuery::default(), PreparedQuery::default());
    let mut decoded = vec![0.0; info.dim];
    query.prepare(&codes, &vec![0.1; info.dim]);
    for row in (0..info.rows as u32).take(100) {
        let (code, residual) = (codes.row(row), codes.residual(row));
        codes.decode(row, &mut decoded);
        row_query.prepare_row(&codes, row);
        for query in [&query, &row_query] {
            assert!(!query.score(code).is_nan() && !query.rescore(code, residual).is_nan());
            assert!(query.score4([code; 4]).iter().all(|score| !score.is_nan()));
            let _ = (query.bound(code), query.spread(code), query.rescore_bound(code, residual));
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let bytes = &sound().1[0];
    let with = |at: usize, field: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + field.len()].copy_from_slice(field);
        Codes::parse(&bytes).map(|_| ())
    };
    let damaged = |offset, what, value| Err(CodesError::Damaged { offset, what, value });
    assert_eq!(with(0, b"X"), Err(CodesError::WrongMagic));
    assert_eq!(with(8, &[2]), Err(CodesError::WrongVersion { found: 2, newest: 1 }));
    assert_eq!(with(10, &[99]), damaged(10, "kind", 99));
    assert_eq!(with(11, &[1]), damaged(11, "a reserved field", 1));
    assert_eq!(with(12, &[0; 4]), damaged(12, "dim", 0));
    assert_eq!(with(20, &[7]), damaged(20, "stride", 7));
    assert_eq!(with(24, &[5]), damaged(24, "seed", 5));
    assert_eq!(with(63, &[1]), damaged(56, "a reserved field", 1 << 56));
    for wrong in [with(16, &[0xff; 4]), with(32, &[1])] {
        assert!(matches!(wrong, Err(CodesError::WrongLength { .. })), "{wrong:?}");
    }
}

#[test]
fn cut_anywhere() {
    for bytes in &sound().1 {
        for end in (0..bytes.len()).step_by(7).chain([63, 64, bytes.len() - 1]) {
            assert!(Codes::parse(&bytes[..end]).is_err(), "{end} bytes");
        }
        survive(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..600), is_named in any::<bool>()) {
        if is_named && bytes.len() >= 10 {
            bytes[..10].copy_from_slice(b"FRMCODES\x01\0");
        }
        survive(&bytes);
    }

    #[test]
    fn changed_bytes(which in 0usize..4, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = sound().1[which].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len() - 64) + 64;
            bytes[at] = value;
        }
        survive(&bytes);
    }

    #[test]
    fn a_header_word_near_its_limits(which in 0usize..4, word in 2usize..16, value in prop_oneof![0u32..70_000, any::<u32>()]) {
        let mut bytes = sound().1[which].clone();
        bytes[4 * word..4 * word + 4].copy_from_slice(&value.to_le_bytes());
        survive(&bytes);
    }
}
