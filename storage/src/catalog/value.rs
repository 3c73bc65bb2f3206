//! A value of the catalog: `version:u32 crc32c:u32 payload`, the checksum over tree, key, version and payload.

use bincode::{Decode, Encode};

use crate::codec::{self, read_u32};

const VERSION: u32 = 1;
const HEAD_BYTES: usize = 8;

/// The bytes to store for `value` under `key` of `tree`.
pub(crate) fn wrap<T: Encode>(tree: &str, key: &[u8], value: &T) -> Vec<u8> {
    let payload = codec::encode(value);
    let mut stored = Vec::with_capacity(HEAD_BYTES + payload.len());
    stored.extend_from_slice(&VERSION.to_le_bytes());
    stored.extend_from_slice(&checksum(tree, key, VERSION, &payload).to_le_bytes());
    stored.extend_from_slice(&payload);
    stored
}

/// The value in `stored`; none when it is not one that was wrapped for this tree and key.
pub(crate) fn unwrap<T: Decode<()>>(tree: &str, key: &[u8], stored: &[u8]) -> Option<T> {
    let payload = stored.get(HEAD_BYTES..)?;
    is_good(tree, key, stored).then(|| codec::decode_all(payload)).flatten()
}

/// Whether `stored` was wrapped for this tree and key, by this version.
pub(crate) fn is_good(tree: &str, key: &[u8], stored: &[u8]) -> bool {
    let Some((head, payload)) = stored.split_at_checked(HEAD_BYTES) else {
        return false;
    };
    let version = read_u32(head, 0);
    version == VERSION && read_u32(head, 4) == checksum(tree, key, version, payload)
}

/// Makes version and checksum of a stored value right, whatever it holds. For fuzzing.
pub(crate) fn repair(tree: &str, key: &[u8], stored: &mut [u8]) {
    if let Some((head, payload)) = stored.split_at_mut_checked(HEAD_BYTES) {
        head[..4].copy_from_slice(&VERSION.to_le_bytes());
        head[4..].copy_from_slice(&checksum(tree, key, VERSION, payload).to_le_bytes());
    }
}

fn checksum(tree: &str, key: &[u8], version: u32, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(tree.as_bytes());
    let crc = crc32c::crc32c_append(crc, &(key.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc, key);
    let crc = crc32c::crc32c_append(crc, &version.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_bound_to_its_tree_and_key() {
        let stored = wrap("aliases", b"best", &7_u64);
        assert_eq!(unwrap::<u64>("aliases", b"best", &stored), Some(7));
        assert_eq!(unwrap::<u64>("aliases", b"test", &stored), None);
        assert_eq!(unwrap::<u64>("sessions", b"best", &stored), None);
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert_eq!(unwrap::<u64>("aliases", b"best", &flipped), None, "byte {at}");
        }
    }
}
