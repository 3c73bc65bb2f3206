//! Mapped files: the only owner of `memmap2`, and the only room of storage where `unsafe` is allowed.
//!
//! Files are mapped read-only after they are complete, their length is checked against what was recorded, and they
//! are never written in place: a file is appended to (journals), or replaced by another name (everything else).
//!
//! What mapping cannot defend against: another program that truncates a mapped file. Touching a page past the new
//! end raises SIGBUS and ends the process; the database is safe, since nothing was written (`tests/mapped.rs` cuts
//! files under a process and looks). A program that overwrites a mapped file changes bytes under us: a checksum notices
//! it only where it is still to be verified.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Advice, Mmap};

/// How bytes are going to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// Here and there: what lies around is not wanted.
    Scattered,
    /// From the first to the last.
    InOrder,
    /// Now so, now so.
    Mixed,
}

/// Read-only bytes: of a mapped file, or of memory (a simulated disk).
#[derive(Debug)]
pub struct Mapping {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(Mmap),
    Memory { lines: Box<[Line]>, length: usize },
}

/// Memory that is aligned as parts of a segment are.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

const LINE_BYTES: usize = 64;
/// Pages asked about at once.
const RESIDENCE_PAGES: usize = 1 << 12;

impl Mapping {
    /// Maps the whole of `file` as long as it is now.
    pub fn of_file(file: &File) -> io::Result<Mapping> {
        if file.metadata()?.len() == 0 {
            // The kernel maps no empty file.
            return Ok(Mapping::of_bytes(&[]));
        }
        // SAFETY: the bytes stay as they are for the life of the map, because this crate never modifies a file in
        // place and the database's lock keeps other writers of this crate out. A journal may grow behind the map,
        // which the map does not see. Interference by other programs is described at the head of the module.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapping { bytes: Bytes::File(map) })
    }

    /// A copy of `bytes`, for backends that are not files.
    pub fn of_bytes(bytes: &[u8]) -> Mapping {
        let mut lines = vec![Line([0; LINE_BYTES]); bytes.len().div_ceil(LINE_BYTES)].into_boxed_slice();
        for (line, chunk) in lines.iter_mut().zip(bytes.chunks(LINE_BYTES)) {
            line.0[..chunk.len()].copy_from_slice(chunk);
        }
        Mapping { bytes: Bytes::Memory { lines, length: bytes.len() } }
    }

    /// Tells the system how the bytes of `range` are going to be read. Without it, touching one page of a large file
    /// may bring in megabytes around it. Only advice: a system that takes none answers as well.
    pub(crate) fn expect(&self, range: Range<usize>, reading: Reading) {
        let advice = match reading {
            Reading::Scattered => Advice::Random,
            Reading::InOrder => Advice::Sequential,
            Reading::Mixed => Advice::Normal,
        };
        if let Bytes::File(map) = &self.bytes
            && range.end <= map.len()
        {
            let _ = map.advise_range(advice, range.start, range.len());
        }
    }

    /// How many of the bytes are in memory now, in whole pages; none where the system does not say.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let Bytes::File(map) = &self.bytes else {
            return Some(self.bytes().len() as u64);
        };
        let page = rustix::param::page_size();
        let mut resident = 0;
        for piece in map.chunks(RESIDENCE_PAGES * page) {
            let mut pages = vec![0_u8; piece.len().div_ceil(page)];
            // SAFETY: a piece starts at a page of the map, which lives as long as `self`, and `pages` has room for a
            // byte of each page that the piece touches.
            let done =
                unsafe { libc::mincore(piece.as_ptr().cast_mut().cast(), piece.len(), pages.as_mut_ptr().cast()) };
            if done != 0 {
                return None;
            }
            resident += pages.iter().filter(|&&page| page & 1 == 1).count() * page;
        }
        Some(resident.min(map.len()) as u64)
    }

    /// The bytes. The first is aligned to 64.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::File(map) => map,
            Bytes::Memory { lines, length } => {
                // SAFETY: lines have no padding, u8 has no alignment, and `of_bytes` made enough of them for `length`.
                unsafe { std::slice::from_raw_parts(lines.as_ptr().cast::<u8>(), *length) }
            }
        }
    }
}

/// `bytes` as little-endian f32, when they are aligned to 4 and a whole number of them.
pub(crate) fn floats(bytes: &[u8]) -> Option<&[f32]> {
    // SAFETY: every bit pattern is a valid f32, and `align_to` gives only aligned elements in the middle.
    let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
    (before.is_empty() && after.is_empty()).then_some(floats)
}

/// The bytes of `floats` as they lie in memory, which is how they lie on disk.
pub(crate) fn bytes_of(floats: &[f32]) -> &[u8] {
    // SAFETY: f32 has no padding, u8 has no alignment, and the length in bytes is that of the slice.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast::<u8>(), size_of_val(floats)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_is_resident() {
        let file = tempfile::tempfile().unwrap();
        file.set_len((3 * RESIDENCE_PAGES * 4096) as u64).unwrap();
        let map = Mapping::of_file(&file).unwrap();
        let before = map.resident_bytes().unwrap();
        assert_eq!(map.bytes()[2 * RESIDENCE_PAGES * 4096], 0);
        let after = map.resident_bytes().unwrap();
        assert!(before < after && after < map.bytes().len() as u64, "{before} {after}");
        assert!(map.bytes().iter().all(|&byte| byte == 0));
        assert_eq!(map.resident_bytes(), Some(map.bytes().len() as u64));
        assert_eq!(Mapping::of_bytes(&[0; 100]).resident_bytes(), Some(100));
    }

    #[test]
    fn floats_survive_the_cast_and_bad_alignment_is_refused() {
        let values = [1.0_f32, -2.5, 3.25];
        let map = Mapping::of_bytes(bytes_of(&values));
        assert_eq!(floats(map.bytes()), Some(&values[..]));
        assert_eq!(floats(&map.bytes()[..11]), None);
        assert_eq!(floats(&map.bytes()[1..9]), None);
        assert_eq!(floats(Mapping::of_bytes(&[]).bytes()), Some(&[][..]));
    }
}
