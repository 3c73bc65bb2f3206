//! Makes magic numbers, versions and checksums right and leaves the rest as it is: what an adversary would do.

use crate::codec::{self, FRAME_HEAD_BYTES, FrameKind, read_u32, read_u64};
use crate::journal::{self, Identity, record};
use crate::segment::layout::{self, BLOCK_BYTES, Footer, TAIL_BYTES};

const JOURNAL_HEAD_BYTES: usize = FRAME_HEAD_BYTES + 16;
const SEGMENT_HEAD_BYTES: usize = FRAME_HEAD_BYTES + 36;

/// Makes the whole of `bytes` a frame of the kind whose magic it begins with.
pub(super) fn frame(bytes: &mut [u8]) {
    if bytes.len() >= FRAME_HEAD_BYTES {
        let magic = bytes.first_chunk::<8>().copied().unwrap_or_default();
        reframe(bytes, FrameKind { magic, version: 1, name: "" });
    }
}

/// Makes `bytes` frames of one kind, one after the other, each as long as it says or as is left.
pub(super) fn frames(bytes: &mut [u8]) {
    let magic = bytes.first_chunk::<8>().copied().unwrap_or_default();
    let mut rest = bytes;
    while rest.len() >= FRAME_HEAD_BYTES {
        let length = (read_u32(rest, 12) as usize).min(rest.len() - FRAME_HEAD_BYTES);
        let (frame, more) = rest.split_at_mut(FRAME_HEAD_BYTES + length);
        reframe(frame, FrameKind { magic, version: 1, name: "" });
        rest = more;
    }
}

/// Makes every footer that a search for one can come upon a good frame; header and tail stay as they are.
pub(super) fn footers(bytes: &mut [u8]) {
    for at in (0..bytes.len()).step_by(layout::ALIGNMENT as usize) {
        let rest = &mut bytes[at..];
        if rest.len() >= FRAME_HEAD_BYTES && rest.starts_with(&layout::FOOTER.magic) {
            let length = (read_u32(rest, 12) as usize).min(rest.len() - FRAME_HEAD_BYTES);
            reframe(&mut rest[..FRAME_HEAD_BYTES + length], layout::FOOTER);
        }
    }
}

/// Makes `bytes`, at least a head long, one frame.
fn reframe(bytes: &mut [u8], kind: FrameKind) {
    let length = (bytes.len() - FRAME_HEAD_BYTES) as u32;
    bytes[..8].copy_from_slice(&kind.magic);
    bytes[8..12].copy_from_slice(&kind.version.to_le_bytes());
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), &bytes[FRAME_HEAD_BYTES..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
}

/// Whose journal the bytes say they are.
pub(super) fn journal_identity(bytes: &[u8]) -> Identity {
    let record = bytes.get(FRAME_HEAD_BYTES..JOURNAL_HEAD_BYTES);
    record.and_then(codec::decode_all).unwrap_or(Identity { collection: 7, first_sequence: 1 })
}

/// Head and records of a journal.
pub(super) fn journal(bytes: &mut [u8]) {
    if bytes.len() < JOURNAL_HEAD_BYTES {
        return;
    }
    reframe(&mut bytes[..JOURNAL_HEAD_BYTES], journal::HEADER);
    let seed = journal_identity(bytes).seed();
    let mut at = JOURNAL_HEAD_BYTES;
    while at + record::HEADER_BYTES <= bytes.len() {
        at += record::repair(&mut bytes[at..], seed);
    }
}

/// Header, block checksums, footer and tail of a segment.
pub(super) fn segment(bytes: &mut [u8]) {
    let Some(tail) = bytes.len().checked_sub(TAIL_BYTES).filter(|&tail| tail >= SEGMENT_HEAD_BYTES) else {
        return;
    };
    reframe(&mut bytes[..SEGMENT_HEAD_BYTES], layout::HEADER);
    let offset = usize::try_from(read_u64(bytes, tail)).unwrap_or(usize::MAX);
    bytes[tail..].copy_from_slice(&layout::tail(offset as u64));
    if offset.saturating_add(FRAME_HEAD_BYTES) > tail {
        return;
    }
    let footer = codec::decode_all::<Footer>(&bytes[offset + FRAME_HEAD_BYTES..tail]);
    if let Some(mut footer) = footer {
        sums(bytes, &mut footer, offset);
        bytes[offset + FRAME_HEAD_BYTES..tail].copy_from_slice(&codec::encode(&footer));
    }
    reframe(&mut bytes[offset..tail], layout::FOOTER);
}

/// The block checksums of every part that lies before `limit`.
fn sums(bytes: &mut [u8], footer: &mut Footer, limit: usize) {
    for part in &mut footer.parts {
        let inside = |offset: u64, length: u64| offset.checked_add(length).is_some_and(|end| end <= limit as u64);
        let sums_bytes = part.blocks().saturating_mul(4);
        if !inside(part.offset, part.bytes) || !inside(part.sums_offset, sums_bytes) {
            continue;
        }
        let (start, sums_start) = (part.offset as usize, part.sums_offset as usize);
        for block in 0..part.blocks() as usize {
            let from = start + block * BLOCK_BYTES as usize;
            let to = (start + part.bytes as usize).min(from + BLOCK_BYTES as usize);
            let crc = crc32c::crc32c(&bytes[from..to]);
            bytes[sums_start + block * 4..sums_start + block * 4 + 4].copy_from_slice(&crc.to_le_bytes());
        }
        part.sums_crc = crc32c::crc32c(&bytes[sums_start..sums_start + sums_bytes as usize]);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::scan;

    #[test]
    fn a_repaired_journal_and_frame_are_believed() {
        let mut bytes = codec::frame(journal::HEADER, &Identity { collection: 7, first_sequence: 1 });
        let batch =
            record::encode_batch(&crate::Batch::default().with_request_id("r"), crate::VectorType::F32).unwrap();
        record::push(&mut bytes, 0, 1, 36, &batch);
        let identity = journal_identity(&bytes);
        let mut batches = 0;
        let mut count = |bytes: &[u8]| {
            scan::scan(Path::new("journal"), bytes, identity, false, &mut |_, _| {
                batches += 1;
                Ok(())
            })
            .is_ok()
        };
        assert!(!count(&bytes), "its records have another journal's seed");
        journal(&mut bytes);
        assert!(count(&bytes));
        assert_eq!(batches, 1);
    }
}
