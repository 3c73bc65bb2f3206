//! The members of a tar: name, size and place, read from its headers, with their bytes on demand.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek};
use std::path::Path;

use tar::{EntryType, Header, PaxExtensions};

use super::super::SourceError;
use super::bytes::Bytes;
use crate::error::{Error, Result};

const BLOCK: u64 = 512;
const GZIP: [u8; 2] = [0x1F, 0x8B];
/// Longest extension header: room for any sensible name.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// One member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its first header is.
    pub(super) offset: u64,
    /// Where its bytes are.
    data: u64,
    pub(super) size: u64,
    /// A file with bytes of its own: no link, no device.
    pub(super) is_plain: bool,
}

/// A tar that is being read.
pub(super) struct Members {
    file: Bytes,
    /// Bytes of the file; of a packed one nobody knows how many come out of it.
    len: u64,
    /// Where the next header is.
    at: u64,
    ended: bool,
}

/// What the headers before a member's own say of it.
#[derive(Default)]
struct Extension {
    name: Option<String>,
    size: Option<u64>,
}

type Failed = (u64, SourceError);

impl Members {
    pub(super) fn open(path: &Path, from: u64) -> Result<Members> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut magic = [0; 2];
        let is_packed = len >= 2 && file.read_exact(&mut magic).is_ok() && magic == GZIP;
        file.rewind().map_err(failed)?;
        let file = BufReader::with_capacity(256 << 10, file);
        Ok(match is_packed {
            true => Members { file: Bytes::packed(file), len: u64::MAX, at: from, ended: false },
            false => Members { file: Bytes::Plain(file), len, at: from, ended: false },
        })
    }

    /// Where the next member begins.
    pub(super) fn offset(&self) -> u64 {
        self.at
    }

    /// The next file; `None` at the end, and after a failure, which names its offset.
    pub(super) fn next(&mut self) -> Option<Result<Member, Failed>> {
        if self.ended {
            return None;
        }
        let member = self.find();
        self.ended = !matches!(member, Ok(Some(_)));
        member.transpose()
    }

    fn find(&mut self) -> Result<Option<Member>, Failed> {
        let (mut offset, len) = (self.at, self.len);
        let mut extension = Extension::default();
        loop {
            let at = self.at;
            let Some(header) = self.header().map_err(|error| (at.min(len), error))? else { return Ok(None) };
            let damaged = |what: &str| (at, SourceError::damaged(format!("{what} of the header at byte {at}")));
            let size = header.entry_size().map_err(|_| damaged("the size"))?;
            let data = at + BLOCK;
            let kind = header.entry_type();
            let is_file = !(kind.is_gnu_longname() || kind.is_pax_local_extensions());
            let size = if is_file { extension.size.unwrap_or(size) } else { size };
            let padded = size.checked_next_multiple_of(BLOCK).and_then(|size| data.checked_add(size));
            self.at = padded.ok_or_else(|| damaged("the size"))?;
            if !is_file {
                let bytes = self.extension(data, size).map_err(|error| (at, error))?;
                extension.read(kind, &bytes).map_err(|error| (at, error))?;
                continue;
            }
            if kind.is_dir() || kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
                // A long link name belongs to the member after it, and so does what came before.
                if !kind.is_gnu_longlink() {
                    (offset, extension) = (self.at, Extension::default());
                }
                continue;
            }
            let name = extension.name.take().unwrap_or_else(|| text(&header.path_bytes()));
            let is_plain = kind.is_file() || kind.is_contiguous();
            return Ok(Some(Member { name, offset, data, size, is_plain }));
        }
    }

    /// The header at the present place; `None` for the block of zeros that ends a tar.
    fn header(&mut self) -> Result<Option<Header>, SourceError> {
        let truncated = |what: &str| SourceError::Truncated {
            len: self.len,
            what: what.into(),
            lost: "what comes after is lost; fetch the file again",
        };
        if self.at > self.len {
            return Err(truncated("a member"));
        }
        if self.at == self.len {
            return Err(truncated("the tar, which has no block of zeros at its end"));
        }
        if self.len - self.at < BLOCK {
            return Err(truncated("a header"));
        }
        let mut block = [0; BLOCK as usize];
        self.read_at(self.at, &mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            let checked = self.file.check_end();
            return checked.map(|()| None).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => self.cut_off(),
                _ => SourceError::damaged(format!("{error}: what was read of this file may be damaged")),
            });
        }
        let header = Header::from_byte_slice(&block).clone();
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(SourceError::damaged(format!("no tar header at byte {}: its checksum is wrong", self.at)));
        }
        Ok(Some(header))
    }

    /// The bytes of a header that extends another.
    fn extension(&mut self, data: u64, size: u64) -> Result<Vec<u8>, SourceError> {
        if size > EXTENSION_BYTES_MAX {
            let what = "a header's extension".into();
            return Err(SourceError::TooLarge { what, bytes: size, limit: EXTENSION_BYTES_MAX });
        }
        self.bytes(data, size, "a header's extension")
    }

    /// The bytes of `member`.
    pub(super) fn read(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>, SourceError> {
        if member.size > limit {
            return Err(SourceError::TooLarge { what: member.name.clone(), bytes: member.size, limit });
        }
        self.bytes(member.data, member.size, &member.name)
    }

    fn bytes(&mut self, at: u64, size: u64, what: &str) -> Result<Vec<u8>, SourceError> {
        if at.checked_add(size).is_none_or(|end| end > self.len) {
            return Err(SourceError::cut_off(self.len, what));
        }
        let mut bytes = vec![0; size as usize];
        self.read_at(at, &mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), SourceError> {
        self.file.read_at(at, bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.cut_off(),
            _ => SourceError::damaged(format!("byte {at} cannot be read: {error}")),
        })
    }

    fn cut_off(&self) -> SourceError {
        SourceError::cut_off(self.file.here().unwrap_or(self.at), "a packed tar")
    }
}

impl Extension {
    fn read(&mut self, kind: EntryType, bytes: &[u8]) -> Result<(), SourceError> {
        if kind.is_gnu_longname() {
            self.name = Some(text(bytes.split(|byte| *byte == 0).next().unwrap_or_default()));
            return Ok(());
        }
        for field in PaxExtensions::new(bytes) {
            let field = field.map_err(|error| SourceError::damaged(format!("a pax header: {error}")))?;
            match field.key_bytes() {
                b"path" => self.name = Some(text(field.value_bytes())),
                b"size" => {
                    let size = field.value().ok().and_then(|size| size.parse().ok());
                    self.size = Some(size.ok_or_else(|| SourceError::damaged("a pax header: its size is no number"))?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The sum of a header's bytes, its own field counted as spaces.
fn checksum(block: &[u8; BLOCK as usize]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
