//! The bytes of one sealed segment, all of them, and what checksums cannot tell.

use crate::codec::{FRAME_HEAD_BYTES, read_u32};
use crate::error::StorageError;
use crate::progress::Meter;
use crate::segment::SegmentView;
use crate::segment::layout::{self, ALIGNMENT, PartKind};
use crate::segment::sealed::{Sealed, recheck_part};

/// Checks every byte of a sealed segment, whatever was found good before; each damage goes to `found`.
pub(crate) fn check(view: &SegmentView, meter: &mut Meter<'_>, found: &mut dyn FnMut(StorageError)) {
    let Some(sealed) = view.sealed_body() else {
        return;
    };
    let mut is_good = true;
    let mut report = |error| {
        is_good = false;
        found(error);
    };
    let before = meter.bytes;
    for part in &sealed.footer.parts {
        let kind = PartKind::ALL.into_iter().find(|&kind| kind as u32 == part.kind);
        let name = kind.map_or("an unknown part", PartKind::name);
        recheck_part(&sealed.path, sealed.file(), part, name, &mut report, &mut |bytes| meter.add(&sealed.path, bytes));
    }
    check_gaps(sealed).into_iter().for_each(&mut report);
    // Header, footer, checksums and the zeros between.
    meter.add(&sealed.path, sealed.file_bytes().saturating_sub(meter.bytes - before));
    if is_good && let Err(error) = check_rows(view, sealed) {
        found(error);
    }
}

/// The bytes between parts are zeros, and no others: so every byte of the file is accounted for.
fn check_gaps(sealed: &Sealed) -> Vec<StorageError> {
    let file = sealed.file();
    let frame_bytes = |at: usize| FRAME_HEAD_BYTES + read_u32(file, at + 12) as usize;
    let mut used: Vec<(usize, usize)> = vec![(0, frame_bytes(0))];
    if let Ok(footer) = layout::read_tail(&sealed.path, file) {
        used.push((footer, footer + frame_bytes(footer)));
    }
    for part in &sealed.footer.parts {
        used.push((part.offset as usize, (part.offset + part.bytes) as usize));
        used.push((part.sums_offset as usize, (part.sums_offset + part.blocks() * 4) as usize));
    }
    used.push((file.len() - layout::TAIL_BYTES, file.len()));
    used.sort_unstable();
    let mut errors = Vec::new();
    let mut at = 0;
    for (start, end) in used {
        let gap = file.get(at..start).unwrap_or_default();
        if gap.len() as u64 >= ALIGNMENT || gap.iter().any(|&byte| byte != 0) {
            errors.push(StorageError::damaged(&sealed.path, at as u64, "segment: bytes between its parts"));
        }
        at = at.max(end);
    }
    errors
}

/// What checksums cannot tell: keys in order and unique, every row readable, every live vector with a direction.
fn check_rows(view: &SegmentView, sealed: &Sealed) -> Result<(), StorageError> {
    let mut before: Option<&str> = None;
    for place in 0..view.rows() {
        let row = sealed.key_order(place)?;
        let key = sealed.key(row)?;
        if before.is_some_and(|before| before >= key) {
            return Err(StorageError::damaged(&sealed.path, 0, format!("key order: place {place} is out of order")));
        }
        before = Some(key);
        sealed.document(row)?;
        sealed.features(row)?;
        if !view.is_row_whole(row) {
            return Err(StorageError::damaged(&sealed.path, 0, format!("vectors: row {row} has no direction")));
        }
    }
    Ok(())
}
