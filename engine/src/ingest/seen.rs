//! What a run has met: keys, which must not repeat, and pictures, which may.
//!
//! 16 bytes of a hash are kept for each: enough that two different ones are never taken for the same, and about 60 MB
//! for a million records. What is new since it was last asked for is handed out as 32 bytes a record, so that a job can
//! write it down and begin again with all of it.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// Bytes of one record in what is handed out.
pub(crate) const ENTRY_BYTES: usize = 32;

/// In the place of a picture, for a record that could not be used.
const UNUSABLE: [u8; 16] = [0xFF; 16];

/// Keys and pictures of a run.
#[derive(Default)]
pub(crate) struct Seen {
    keys: HashSet<[u8; 16]>,
    pictures: HashSet<[u8; 16]>,
    /// Keys of records that could not be used: they are there, but may come again.
    unusable: HashSet<[u8; 16]>,
    /// What was met since `take_new`: the key's half, and the picture's or zeros.
    new: Vec<u8>,
}

impl Seen {
    /// What [`Seen::take_new`] handed out, all of it.
    pub(crate) fn from_entries(entries: &[u8]) -> Seen {
        let mut seen = Seen::default();
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (key, picture) = entry.split_at(16);
            if picture == UNUSABLE {
                seen.unusable.extend(<[u8; 16]>::try_from(key));
                continue;
            }
            seen.keys.extend(<[u8; 16]>::try_from(key));
            if picture.iter().any(|byte| *byte != 0) {
                seen.pictures.extend(<[u8; 16]>::try_from(picture));
            }
        }
        seen
    }

    /// True when the key is met for the first time.
    pub(crate) fn is_new_key(&mut self, key: &str) -> bool {
        let half = half_of_key(key);
        let is_new = self.keys.insert(half);
        if is_new {
            self.new.extend(half);
            self.new.extend([0; 16]);
        }
        is_new
    }

    /// True when the picture with this content hash, of the key met last, is met for the first time.
    pub(crate) fn is_new_picture(&mut self, hash: [u8; 32]) -> bool {
        let half = half(hash);
        if let Some(at) = self.new.len().checked_sub(16) {
            self.new[at..].copy_from_slice(&half);
        }
        self.pictures.insert(half)
    }

    /// Takes note of a record that could not be used.
    pub(crate) fn add_unusable(&mut self, key: &str) {
        let half = half_of_key(key);
        if self.unusable.insert(half) {
            self.new.extend(half);
            self.new.extend(UNUSABLE);
        }
    }

    /// True when the key was met, whether its record could be used or not.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        let half = half_of_key(key);
        self.keys.contains(&half) || self.unusable.contains(&half)
    }

    /// What was met since this was last called.
    pub(crate) fn take_new(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.new)
    }
}

fn half_of_key(key: &str) -> [u8; 16] {
    half(Sha256::digest(key).into())
}

fn half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_out_is_all_of_it() {
        let mut seen = Seen::default();
        assert!(seen.is_new_key("a") && seen.is_new_picture([7; 32]));
        let first = seen.take_new();
        assert!(seen.is_new_key("b") && !seen.is_new_key("a") && !seen.is_new_picture([7; 32]));
        seen.add_unusable("u");
        let all = [first, seen.take_new()].concat();
        assert_eq!(all.len(), 3 * ENTRY_BYTES);
        assert!(Seen::from_entries(&all).has_key("u") && Seen::from_entries(&all).is_new_key("u"));
        let mut again = Seen::from_entries(&all);
        assert!(!again.is_new_key("a") && !again.is_new_key("b") && again.is_new_key("c"));
        assert!(!again.is_new_picture([7; 32]) && again.is_new_picture([8; 32]) && again.has_key("a"));
    }
}
