//! A sealed segment: a mapped file whose bytes are believed only after their checksum was.
//!
//! Opening reads header, footer and tail. A block is checked when it is first touched and remembered as good, so a
//! search pays for verification once. Keys are found by binary search in the mapped key order: but for the first
//! and the last, no key is kept on the heap.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::backend::Backend;
use crate::batch::Document;
use crate::codec::{self, read_u32, read_u64};
use crate::error::StorageError;
use crate::mmap::{self, Mapping, Reading};

use super::derived::Derived;
use super::layout::{self, BLOCK_BYTES, Footer, Header, Part, PartKind};
use super::vectors::Vectors;

/// How often a long check says how far it is.
const TELL_BYTES: u64 = 8 << 20;

/// A mapped segment file.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    pub(crate) footer: Footer,
    pub(crate) footer_crc: u32,
    mapping: Mapping,
    parts: [Option<CheckedPart>; PartKind::ALL.len()],
    /// The first key and the last; none where they cannot be read.
    ends: OnceLock<Option<(Box<str>, Box<str>)>>,
    pub(super) derived: Derived,
}

/// A part with the memory of which of its blocks were found good.
#[derive(Debug)]
struct CheckedPart {
    kind: PartKind,
    part: Part,
    sums_good: AtomicBool,
    all_good: AtomicBool,
    good_blocks: Vec<AtomicU64>,
}

impl Sealed {
    /// Maps the segment and checks header, footer and tail.
    pub(crate) fn open(backend: &dyn Backend, dir: &Path, segment: u64) -> Result<Sealed, StorageError> {
        let path = dir.join(layout::file_name(segment));
        let mapping = backend.map(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StorageError::damaged(&path, 0, "segment: the file is missing"),
            _ => StorageError::io(&path, "map", e),
        })?;
        Sealed::of_mapping(path, mapping, segment)
    }

    /// The segment that the mapped file `path` is.
    pub(crate) fn of_mapping(path: PathBuf, mapping: Mapping, segment: u64) -> Result<Sealed, StorageError> {
        mapping.expect(0..mapping.bytes().len(), Reading::Scattered);
        let (header, footer, footer_crc) = layout::read(&path, mapping.bytes())?;
        if header.segment != segment {
            let what = format!("segment header: segment {}, expected {segment}", header.segment);
            return Err(StorageError::damaged(&path, 0, what));
        }
        Ok(Sealed::new(path, header, footer, footer_crc, mapping))
    }

    fn new(path: PathBuf, header: Header, footer: Footer, footer_crc: u32, mapping: Mapping) -> Sealed {
        let parts = PartKind::ALL.map(|kind| CheckedPart::of(kind, &footer));
        Sealed { path, header, footer, footer_crc, mapping, parts, ends: OnceLock::new(), derived: Derived::default() }
    }

    /// What can still be read of the segment that `header` describes, in a file whose header, tail or checksums'
    /// checksums may be damaged; none when its footer (of checksum `footer_crc`, when that is known) is not there.
    ///
    /// A block that agrees with its checksum is good even where the checksum of the checksums is not: two damages that
    /// agree with each other are not to be expected.
    pub(crate) fn salvage(
        backend: &dyn Backend,
        path: &Path,
        header: Header,
        footer_crc: Option<u32>,
    ) -> Result<Option<Sealed>, StorageError> {
        let mapping = match backend.map(path) {
            Ok(mapping) => mapping,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io(path, "map", error)),
        };
        Ok(Sealed::salvage_of(path.to_path_buf(), mapping, header, footer_crc))
    }

    /// The same of a file that is mapped.
    pub(crate) fn salvage_of(
        path: PathBuf,
        mapping: Mapping,
        header: Header,
        footer_crc: Option<u32>,
    ) -> Option<Sealed> {
        let (footer, crc) = layout::find_footer(&path, mapping.bytes(), &header, footer_crc)?;
        let sealed = Sealed::new(path, header, footer, crc, mapping);
        sealed.parts.iter().flatten().for_each(|part| part.sums_good.store(true, Ordering::Release));
        Some(sealed)
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.mapping.bytes().len() as u64
    }

    /// Bytes of the file that are in memory now; none where the system does not say.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.mapping.resident_bytes()
    }

    /// All bytes of the file, unchecked, to be read in order: for `verify`.
    pub(crate) fn file(&self) -> &[u8] {
        self.mapping.expect(0..self.mapping.bytes().len(), Reading::InOrder);
        self.mapping.bytes()
    }

    /// `[rows, dim]`, checked whole on first touch.
    pub(crate) fn vectors(&self) -> Result<Vectors<'_>, StorageError> {
        self.as_vectors(self.whole(PartKind::Vectors)?.unwrap_or_default())
    }

    /// The vector of a row: only its own blocks are checked.
    pub(crate) fn vector(&self, row: u32) -> Result<Vectors<'_>, StorageError> {
        let width = u64::from(self.header.dim) * self.header.vector_type.bytes() as u64;
        let start = u64::from(row) * width;
        self.as_vectors(self.bytes(PartKind::Vectors, start..start + width)?)
    }

    /// The graph's bytes, when the segment has them.
    pub(crate) fn graph(&self) -> Result<Option<&[u8]>, StorageError> {
        self.whole(PartKind::Graph)
    }

    /// The list of payloads, when the segment has one.
    pub(crate) fn payloads(&self) -> Result<Option<&[u8]>, StorageError> {
        self.whole(PartKind::Payloads)
    }

    /// The key of a row.
    pub(crate) fn key(&self, row: u32) -> Result<&str, StorageError> {
        self.key_at(self.key_range(row)?)
    }

    pub(super) fn key_range(&self, row: u32) -> Result<Range<u64>, StorageError> {
        self.span(PartKind::KeyOffsets, PartKind::Keys, row)
    }

    pub(super) fn key_at(&self, range: Range<u64>) -> Result<&str, StorageError> {
        let bytes = self.bytes(PartKind::Keys, range.clone())?;
        std::str::from_utf8(bytes).map_err(|_| self.bad(PartKind::Keys, range.start, "not UTF-8"))
    }

    /// The row of a key, dead or alive.
    pub(crate) fn find(&self, key: &str) -> Result<Option<u32>, StorageError> {
        // New keys are often behind all others: two comparisons spare them the search.
        if let Some((first, last)) = self.ends()
            && (key < first || key > last)
        {
            return Ok(None);
        }
        let (mut low, mut high) = (0_u32, self.header.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.key_order(middle)?;
            match self.key(row)?.cmp(key) {
                std::cmp::Ordering::Equal => return Ok(Some(row)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    fn ends(&self) -> Option<(&str, &str)> {
        let read = |place| self.key(self.key_order(place).ok()?).ok();
        let ends = self.ends.get_or_init(|| Some((read(0)?.into(), read(self.header.rows.checked_sub(1)?)?.into())));
        ends.as_ref().map(|(first, last)| (&**first, &**last))
    }

    /// The row at a place in the order of keys.
    pub(crate) fn key_order(&self, place: u32) -> Result<u32, StorageError> {
        let start = u64::from(place) * 4;
        let row = read_u32(self.bytes(PartKind::KeyOrder, start..start + 4)?, 0);
        if row >= self.header.rows {
            return Err(self.bad(PartKind::KeyOrder, start, "a row that is not there"));
        }
        Ok(row)
    }

    /// The document of a row.
    pub(crate) fn document(&self, row: u32) -> Result<Document, StorageError> {
        self.document_at(self.document_range(row)?)
    }

    pub(super) fn document_range(&self, row: u32) -> Result<Range<u64>, StorageError> {
        self.span(PartKind::DocumentOffsets, PartKind::Documents, row)
    }

    pub(super) fn document_at(&self, range: Range<u64>) -> Result<Document, StorageError> {
        let bytes = self.bytes(PartKind::Documents, range.clone())?;
        codec::decode_all(bytes).ok_or_else(|| self.bad(PartKind::Documents, range.start, "does not decode"))
    }

    /// The features of a row, when it has them.
    pub(crate) fn features(&self, row: u32) -> Result<Option<Vec<f32>>, StorageError> {
        if self.part(PartKind::FeatureRows).is_none() || self.part(PartKind::Features).is_none() {
            return Ok(None);
        }
        let byte = u64::from(row / 8);
        if self.bytes(PartKind::FeatureRows, byte..byte + 1)?[0] >> (row % 8) & 1 == 0 {
            return Ok(None);
        }
        let width = u64::from(self.header.feature_dim) * 4;
        let start = u64::from(row) * width;
        let bytes = self.bytes(PartKind::Features, start..start + width)?;
        Ok(Some(self.floats(PartKind::Features, bytes)?.to_vec()))
    }

    /// The whole of a part, when the segment has it, all of it checked.
    pub(crate) fn whole(&self, kind: PartKind) -> Result<Option<&[u8]>, StorageError> {
        let Some(checked) = self.part(kind) else {
            return Ok(None);
        };
        let (part, is_first) = (checked.part, !checked.all_good.load(Ordering::Acquire));
        let range = part.offset as usize..(part.offset + part.bytes) as usize;
        if is_first {
            self.mapping.expect(range.clone(), Reading::InOrder);
        }
        let bytes = self.bytes(kind, 0..part.bytes)?;
        if is_first {
            checked.all_good.store(true, Ordering::Release);
            self.mapping.expect(range, self.usual(kind));
        }
        Ok(Some(bytes))
    }

    /// How a part is read when nothing else is said: vectors without a graph are scanned; beside one they are looked up, as
    /// everything else is.
    pub(super) fn usual(&self, kind: PartKind) -> Reading {
        let scanned = kind == PartKind::Vectors && self.part(PartKind::Graph).is_none();
        if scanned { Reading::Mixed } else { Reading::Scattered }
    }

    /// Tells the system how a part is going to be read from now on.
    pub(super) fn expect(&self, kind: PartKind, reading: Reading) {
        if let Some(CheckedPart { part, .. }) = self.part(kind) {
            self.mapping.expect(part.offset as usize..(part.offset + part.bytes) as usize, reading);
        }
    }

    /// A range of a part, its blocks checked.
    fn bytes(&self, kind: PartKind, range: Range<u64>) -> Result<&[u8], StorageError> {
        let Some(checked) = self.part(kind) else {
            return Err(self.bad(kind, 0, "the part is missing"));
        };
        let part = &checked.part;
        if range.start > range.end || range.end > part.bytes {
            return Err(self.bad(kind, range.start, "a range outside of the part"));
        }
        if !checked.all_good.load(Ordering::Acquire) && !range.is_empty() {
            for block in range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES {
                checked.check_block(&self.path, self.mapping.bytes(), block)?;
            }
        }
        let start = part.offset as usize;
        Ok(&self.mapping.bytes()[start + range.start as usize..start + range.end as usize])
    }

    /// A byte of a part as it lies in the map, believed by nobody; 0 past the part's end.
    pub(super) fn peek(&self, kind: PartKind, at: u64) -> u8 {
        let offset = self.part(kind).filter(|checked| at < checked.part.bytes).map(|checked| checked.part.offset + at);
        offset.and_then(|offset| self.mapping.bytes().get(offset as usize)).copied().unwrap_or_default()
    }

    /// Where a row's bytes are in `content`, according to `offsets`.
    fn span(&self, offsets: PartKind, content: PartKind, row: u32) -> Result<Range<u64>, StorageError> {
        let start = u64::from(row) * 8;
        let pair = self.bytes(offsets, start..start + 16)?;
        let range = read_u64(pair, 0)..read_u64(pair, 8);
        let limit = self.part(content).map_or(0, |checked| checked.part.bytes);
        if range.start > range.end || range.end > limit {
            return Err(self.bad(offsets, start, "points outside of its part"));
        }
        Ok(range)
    }

    fn part(&self, kind: PartKind) -> Option<&CheckedPart> {
        self.parts[kind as usize - 1].as_ref()
    }

    fn as_vectors<'a>(&self, bytes: &'a [u8]) -> Result<Vectors<'a>, StorageError> {
        Vectors::of_bytes(self.header.vector_type, bytes).ok_or_else(|| self.bad(PartKind::Vectors, 0, "not aligned"))
    }

    fn floats<'a>(&self, kind: PartKind, bytes: &'a [u8]) -> Result<&'a [f32], StorageError> {
        mmap::floats(bytes).ok_or_else(|| self.bad(kind, 0, "not aligned"))
    }

    fn bad(&self, kind: PartKind, offset: u64, what: &str) -> StorageError {
        let start = self.part(kind).map_or(0, |checked| checked.part.offset);
        StorageError::damaged(&self.path, start + offset, format!("{}: {what}", kind.name()))
    }
}

impl CheckedPart {
    fn of(kind: PartKind, footer: &Footer) -> Option<CheckedPart> {
        let part = *footer.parts.iter().find(|part| part.kind == kind as u32)?;
        let words = part.blocks().div_ceil(64);
        Some(CheckedPart {
            kind,
            part,
            sums_good: AtomicBool::new(false),
            all_good: AtomicBool::new(false),
            good_blocks: (0..words).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Checks a block unless it was found good before. Two threads may both check it: they find the same.
    fn check_block(&self, path: &Path, file: &[u8], block: u64) -> Result<(), StorageError> {
        let word = &self.good_blocks[(block / 64) as usize];
        if word.load(Ordering::Acquire) >> (block % 64) & 1 == 1 {
            return Ok(());
        }
        let sums = self.sums(path, file)?;
        check_block(path, file, &self.part, self.kind.name(), sums, block)?;
        word.fetch_or(1 << (block % 64), Ordering::Release);
        Ok(())
    }

    fn sums<'a>(&self, path: &Path, file: &'a [u8]) -> Result<&'a [u8], StorageError> {
        if !self.sums_good.load(Ordering::Acquire) {
            check_sums(path, file, &self.part, self.kind.name())?;
            self.sums_good.store(true, Ordering::Release);
        }
        Ok(sums_of(file, &self.part))
    }
}

fn sums_of<'a>(file: &'a [u8], part: &Part) -> &'a [u8] {
    let start = part.sums_offset as usize;
    &file[start..start + part.blocks() as usize * 4]
}

/// Checks the block checksums of a part against the footer.
pub(crate) fn check_sums(path: &Path, file: &[u8], part: &Part, name: &str) -> Result<(), StorageError> {
    let found = crc32c::crc32c(sums_of(file, part));
    if found != part.sums_crc {
        let what = format!("checksums of {name}: checksum {found:08x}, {:08x} recorded", part.sums_crc);
        return Err(StorageError::damaged(path, part.sums_offset, what));
    }
    Ok(())
}

/// Checks one block of a part against `sums`.
fn check_block(path: &Path, file: &[u8], part: &Part, name: &str, sums: &[u8], block: u64) -> Result<(), StorageError> {
    let start = part.offset + block * BLOCK_BYTES;
    let end = (part.offset + part.bytes).min(start + BLOCK_BYTES);
    let found = crc32c::crc32c(&file[start as usize..end as usize]);
    let recorded = read_u32(sums, block as usize * 4);
    if found != recorded {
        let what = format!("{name}, block {block}: checksum {found:08x}, {recorded:08x} recorded");
        return Err(StorageError::damaged(path, start, what));
    }
    Ok(())
}

/// Checks every block of a part anew, whatever was found before; each bad one goes to `report`. `read` is told the
/// bytes of every few megabytes.
pub(crate) fn recheck_part(
    path: &Path,
    file: &[u8],
    part: &Part,
    name: &str,
    report: &mut dyn FnMut(StorageError),
    read: &mut dyn FnMut(u64),
) {
    let sums_good = match check_sums(path, file, part, name) {
        Ok(()) => true,
        Err(error) => {
            report(error);
            false
        }
    };
    let mut told = 0;
    for block in 0..part.blocks() {
        if sums_good && let Err(error) = check_block(path, file, part, name, sums_of(file, part), block) {
            report(error);
        }
        let done = part.bytes.min((block + 1) * BLOCK_BYTES);
        if done - told >= TELL_BYTES || done == part.bytes {
            read(done - told);
            told = done;
        }
    }
}
