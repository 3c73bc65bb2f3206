//! What a run has met: keys, which must not repeat, and pictures, which may.
//!
//! 16 bytes of a hash are kept for each: enough that two different ones are never taken for the same, and about 60 MB
//! for a million records.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// Keys and pictures of a run.
#[derive(Default)]
pub(super) struct Seen {
    keys: HashSet<[u8; 16]>,
    pictures: HashSet<[u8; 16]>,
}

impl Seen {
    /// True when the key is met for the first time.
    pub(super) fn is_new_key(&mut self, key: &str) -> bool {
        self.keys.insert(half(Sha256::digest(key).into()))
    }

    /// True when the picture with this content hash is met for the first time.
    pub(super) fn is_new_picture(&mut self, hash: [u8; 32]) -> bool {
        self.pictures.insert(half(hash))
    }
}

fn half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}
