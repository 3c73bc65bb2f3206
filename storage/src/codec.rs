//! Bincode records inside checked frames: how every small structure becomes bytes and is believed again.
//!
//! A frame is `magic[8] version:u32 length:u32 crc32c:u32 payload[length]`; the checksum covers all that stands
//! before it and the payload. Decoding never panics and never allocates more than a small multiple of its input.

use std::path::Path;

use bincode::config::{Config, standard};
use bincode::{Decode, Encode};

use crate::error::StorageError;

/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEAD_BYTES: usize = 20;

/// What a frame holds: its first eight bytes and the version that this build writes and reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameKind {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) name: &'static str,
}

/// Encodes one bincode record: little-endian, integers of fixed width.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let config = standard().with_little_endian().with_fixed_int_encoding();
    bincode::encode_to_vec(value, config).expect("plain data always encodes")
}

/// Decodes one record from the front of `bytes`; returns it with the bytes it took.
///
/// The allocation limit is a constant for bincode, so the smallest step that holds four times the input is taken:
/// no record is larger in memory than four times its encoding.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Option<(T, usize)> {
    fn under<T: Decode<()>, C: Config>(bytes: &[u8], config: C) -> Option<(T, usize)> {
        bincode::decode_from_slice(bytes, config).ok()
    }
    let config = standard().with_little_endian().with_fixed_int_encoding();
    // The first step that is large enough; steps overlap so that each reads as one number.
    #[allow(clippy::match_overlapping_arm)]
    match bytes.len().saturating_mul(4) {
        ..=0x1000 => under(bytes, config.with_limit::<0x1000>()),
        ..=0x1_0000 => under(bytes, config.with_limit::<0x1_0000>()),
        ..=0x10_0000 => under(bytes, config.with_limit::<0x10_0000>()),
        ..=0x100_0000 => under(bytes, config.with_limit::<0x100_0000>()),
        ..=0x1000_0000 => under(bytes, config.with_limit::<0x1000_0000>()),
        _ => under(bytes, config.with_limit::<0x1_0000_0000>()),
    }
}

/// Decodes one record that must fill `bytes`.
pub(crate) fn decode_all<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    decode(bytes).and_then(|(value, used)| (used == bytes.len()).then_some(value))
}

/// Puts a record into a frame.
pub(crate) fn frame<T: Encode>(kind: FrameKind, value: &T) -> Vec<u8> {
    let payload = encode(value);
    let length = u32::try_from(payload.len()).expect("a framed record is far below 4 GiB");
    let mut bytes = Vec::with_capacity(FRAME_HEAD_BYTES + payload.len());
    bytes.extend_from_slice(&kind.magic);
    bytes.extend_from_slice(&kind.version.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

/// The record of a frame, with the frame's checksum and its length in bytes.
#[derive(Debug)]
pub(crate) struct Unframed<T> {
    pub(crate) value: T,
    pub(crate) crc: u32,
    pub(crate) bytes: usize,
}

/// Takes the frame that starts at `offset` of the file `path`, whose whole content is `file`.
pub(crate) fn unframe<T: Decode<()>>(
    kind: FrameKind,
    path: &Path,
    file: &[u8],
    offset: usize,
) -> Result<Unframed<T>, StorageError> {
    let damaged = |what: String| StorageError::damaged(path, offset as u64, what);
    let bytes = file.get(offset..).unwrap_or_default();
    let Some(head) = bytes.get(..FRAME_HEAD_BYTES) else {
        return Err(damaged(format!("{}: {} bytes, too short for its head", kind.name, bytes.len())));
    };
    if head[..8] != kind.magic {
        return Err(damaged(format!("{}: its first eight bytes are not {:?}", kind.name, kind.magic.escape_ascii())));
    }
    let version = read_u32(head, 8);
    let length = read_u32(head, 12) as usize;
    let crc = read_u32(head, 16);
    let Some(payload) = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length) else {
        return Err(damaged(format!("{}: {length} bytes announced, {} there", kind.name, bytes.len())));
    };
    let found = crc32c::crc32c_append(crc32c::crc32c(&head[..16]), payload);
    if found != crc {
        return Err(damaged(format!("{}: checksum {found:08x}, {crc:08x} recorded", kind.name)));
    }
    if version != kind.version {
        let path = path.to_path_buf();
        return Err(StorageError::UnsupportedVersion { path, found: version, supported: kind.version });
    }
    let value = decode_all(payload).ok_or_else(|| damaged(format!("{}: does not decode", kind.name)))?;
    Ok(Unframed { value, crc, bytes: FRAME_HEAD_BYTES + length })
}

/// Takes the frame that is the whole of a file.
pub(crate) fn unframe_file<T: Decode<()>>(kind: FrameKind, path: &Path, file: &[u8]) -> Result<T, StorageError> {
    let unframed = unframe(kind, path, file, 0)?;
    if unframed.bytes != file.len() {
        let what = format!("{}: {} bytes after its end", kind.name, file.len() - unframed.bytes);
        return Err(StorageError::damaged(path, unframed.bytes as u64, what));
    }
    Ok(unframed.value)
}

/// The little-endian `u32` at `at`; the caller has checked the length.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The little-endian `u64` at `at`; the caller has checked the length.
pub(crate) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
