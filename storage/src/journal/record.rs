//! The bytes of one journal record: a header of 32 bytes, then the batch.
//!
//! All bytes are stored XOR [`MASK`]. A sector that never reached the disk reads as zeros, and with the mask no
//! sector that did reach it looks like that, however many zeros a vector has.

use crate::batch::{Batch, Document, Op, Record, VectorType};
use crate::codec::{self, read_u32, read_u64};
use crate::error::StorageError;
use crate::segment::vectors::{narrowed, widened};

/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: usize = 32;
/// Largest batch in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 20;
const MASK: u8 = 0xA5;

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) payload_bytes: u32,
    /// CRC-32C of the payload as stored.
    pub(crate) payload_crc: u32,
    pub(crate) sequence: u64,
    /// Length of the file that was known to be durable when this record's group was written.
    pub(crate) durable: u64,
}

/// Variant of a put whose vector is in halves: key, halves (u16), features, document.
const PUT_OF_HALVES: u32 = 2;

/// Encodes a batch as a record's payload, masked; vectors as the collection keeps them.
pub(crate) fn encode_batch(batch: &Batch, vector_type: VectorType) -> Result<Vec<u8>, StorageError> {
    let count = u32::try_from(batch.ops.len()).unwrap_or(u32::MAX);
    let mut payload = codec::encode(&(&batch.request_id, count));
    for op in &batch.ops {
        match op {
            Op::Put(record) if vector_type == VectorType::F16 => {
                let halves: Vec<u16> = record.vector.iter().map(|&x| u16::from_le_bytes(narrowed(x))).collect();
                let fields = (PUT_OF_HALVES, &record.key, halves, &record.features, &record.document);
                payload.extend_from_slice(&codec::encode(&fields));
            }
            op => payload.extend_from_slice(&codec::encode(op)),
        }
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(StorageError::BatchTooLarge { bytes: payload.len(), limit: PAYLOAD_BYTES_MAX });
    }
    mask(&mut payload);
    Ok(payload)
}

/// Decodes a masked payload; none when it is not a batch.
pub(crate) fn decode_batch(stored: &[u8]) -> Option<Batch> {
    decode_typed(stored).map(|(batch, _)| batch)
}

/// The same, with the type of its vectors; none too when they are of both.
pub(crate) fn decode_typed(stored: &[u8]) -> Option<(Batch, VectorType)> {
    let mut payload = stored.to_vec();
    mask(&mut payload);
    let ((request_id, count), mut at) = codec::decode::<(Option<String>, u32)>(&payload)?;
    let (mut ops, mut vector_type) = (Vec::new(), None);
    for _ in 0..count {
        let (op, found, used) = decode_op(&payload[at..])?;
        if matches!(op, Op::Put(_)) && *vector_type.get_or_insert(found) != found {
            return None;
        }
        ops.push(op);
        at += used;
    }
    (at == payload.len()).then(|| (Batch { ops, request_id }, vector_type.unwrap_or_default()))
}

fn decode_op(bytes: &[u8]) -> Option<(Op, VectorType, usize)> {
    if bytes.len() < 4 || read_u32(bytes, 0) != PUT_OF_HALVES {
        let (op, used) = codec::decode::<Op>(bytes)?;
        return Some((op, VectorType::F32, used));
    }
    type Fields = (u32, String, Vec<u16>, Option<Vec<f32>>, Document);
    let ((_, key, halves, features, document), used) = codec::decode::<Fields>(bytes)?;
    let vector = halves.into_iter().map(|half| widened(half.to_le_bytes())).collect();
    Some((Op::Put(Record { key, vector, features, document }), VectorType::F16, used))
}

/// Appends a whole record to `group`.
pub(crate) fn push(group: &mut Vec<u8>, seed: u32, sequence: u64, durable: u64, payload: &[u8]) {
    let payload_bytes = u32::try_from(payload.len()).expect("limited when it was encoded");
    let start = group.len();
    group.extend_from_slice(&payload_bytes.to_le_bytes());
    group.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    group.extend_from_slice(&sequence.to_le_bytes());
    group.extend_from_slice(&durable.to_le_bytes());
    group.extend_from_slice(&0_u32.to_le_bytes());
    let crc = crc32c::crc32c_append(seed, &group[start..]);
    group.extend_from_slice(&crc.to_le_bytes());
    mask(&mut group[start..]);
    group.extend_from_slice(payload);
}

/// Reads the header that starts at `at`, when one is there that belongs to the file of `seed`.
pub(crate) fn header_at(bytes: &[u8], at: usize, seed: u32) -> Option<Header> {
    let mut head = [0; HEADER_BYTES];
    head.copy_from_slice(bytes.get(at..at.checked_add(HEADER_BYTES)?)?);
    mask(&mut head);
    let crc = crc32c::crc32c_append(seed, &head[..28]);
    (crc == read_u32(&head, 28) && read_u32(&head, 24) == 0).then(|| Header {
        payload_bytes: read_u32(&head, 0),
        payload_crc: read_u32(&head, 4),
        sequence: read_u64(&head, 8),
        durable: read_u64(&head, 16),
    })
}

/// The stored payload of the record at `at`, when it is all there and its checksum is right.
pub(crate) fn payload_at(bytes: &[u8], at: usize, header: Header) -> Option<&[u8]> {
    let start = at + HEADER_BYTES;
    let payload = bytes.get(start..start.checked_add(header.payload_bytes as usize)?)?;
    (crc32c::crc32c(payload) == header.payload_crc).then_some(payload)
}

/// Makes the checksums of the record that begins `bytes` right, whatever it holds, and its payload end within them;
/// returns its length. For fuzzing.
pub(crate) fn repair(bytes: &mut [u8], seed: u32) -> usize {
    mask(&mut bytes[..HEADER_BYTES]);
    let rest = bytes.len() - HEADER_BYTES;
    let payload_bytes = (read_u32(bytes, 0) as usize).min(rest);
    bytes[..4].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
    let payload_crc = crc32c::crc32c(&bytes[HEADER_BYTES..HEADER_BYTES + payload_bytes]);
    bytes[4..8].copy_from_slice(&payload_crc.to_le_bytes());
    bytes[24..28].fill(0);
    let crc = crc32c::crc32c_append(seed, &bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    mask(&mut bytes[..HEADER_BYTES]);
    HEADER_BYTES + payload_bytes
}

fn mask(bytes: &mut [u8]) {
    for byte in bytes {
        *byte ^= MASK;
    }
}
