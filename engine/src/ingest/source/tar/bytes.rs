//! The bytes of a tar, read from front to back: as they lie, or unpacked on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;

/// What may follow the end of a packed tar: archivers fill up to a whole record.
const PADDING_MAX: u64 = 1 << 20;

/// A tar's bytes.
pub(super) enum Bytes {
    /// A file that can be read anywhere.
    Plain(BufReader<File>),
    /// A packed file, which only goes forward, and how many bytes came out of it.
    Packed(Box<MultiGzDecoder<BufReader<File>>>, u64),
}

impl Bytes {
    pub(super) fn packed(file: BufReader<File>) -> Bytes {
        Bytes::Packed(Box::new(MultiGzDecoder::new(file)), 0)
    }

    /// How many bytes came out of a packed file.
    pub(super) fn here(&self) -> Option<u64> {
        match self {
            Bytes::Plain(_) => None,
            Bytes::Packed(_, here) => Some(*here),
        }
    }

    /// Fills `bytes` with what is at `at`, which never goes back in a packed file.
    pub(super) fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Bytes::Plain(file) => {
                let here = file.stream_position()?;
                match i64::try_from(at.wrapping_sub(here)) {
                    Ok(ahead) if at >= here => file.seek_relative(ahead)?,
                    _ => file.seek(SeekFrom::Start(at)).map(|_| ())?,
                }
                file.read_exact(bytes)
            }
            Bytes::Packed(decoder, here) => {
                let Some(ahead) = at.checked_sub(*here) else {
                    return Err(io::Error::other("a packed tar is read from front to back"));
                };
                let passed = io::copy(&mut decoder.take(ahead), &mut io::sink())?;
                *here += passed;
                if passed < ahead {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                decoder.read_exact(bytes)?;
                *here += bytes.len() as u64;
                Ok(())
            }
        }
    }

    /// Behind a tar's end, reads what is left of a packed file: its checksum comes last.
    pub(super) fn check_end(&mut self) -> io::Result<()> {
        match self {
            Bytes::Plain(_) => Ok(()),
            Bytes::Packed(decoder, _) => io::copy(&mut decoder.take(PADDING_MAX), &mut io::sink()).map(|_| ()),
        }
    }
}
