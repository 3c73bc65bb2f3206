//! Whether a shared library is whole, found out before it is mapped.
//!
//! The loader maps the parts which the file's headers name without asking whether the file is that long; the first
//! touch of a missing page then kills the process (SIGBUS), and no error can be returned any more. So the headers are
//! read here first. Only the 64-bit little-endian kind is understood, which is what x86-64 and arm64 use.
//!
//! Source: System V ABI, chapter 4 (object files) and 5 (program headers).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const PROGRAM_HEADER_BYTES: u64 = 56;
const SECTION_HEADER_BYTES: u64 = 64;
const SEGMENT_LOAD: u32 = 1;
const SECTION_WITHOUT_BYTES: u32 = 8;
const SECTION_STRINGS: u32 = 3;
const STRINGS_BYTES_MAX: u64 = 16 << 20;

/// Checks that the file holds every byte its headers name. Returns the version of ONNX Runtime it carries, such as
/// `1.31.1`, where it is marked with one.
///
/// # Errors
/// What is wrong with the file, for a sentence that names it.
pub(super) fn inspect(path: &Path) -> Result<Option<String>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".into());
    }
    let header = Header::read(&mut file, metadata.len())?;
    let segments = read_table(&mut file, header.segments_at, header.segments, PROGRAM_HEADER_BYTES, metadata.len())?;
    for segment in segments.chunks_exact(PROGRAM_HEADER_BYTES as usize) {
        if u32_at(segment, 0) == SEGMENT_LOAD {
            within(u64_at(segment, 8), u64_at(segment, 32), metadata.len())?;
        }
    }
    let sections = read_table(&mut file, header.sections_at, header.sections, SECTION_HEADER_BYTES, metadata.len())?;
    let mut version = None;
    for section in sections.chunks_exact(SECTION_HEADER_BYTES as usize) {
        let (kind, at, bytes) = (u32_at(section, 4), u64_at(section, 24), u64_at(section, 32));
        if kind != SECTION_WITHOUT_BYTES {
            within(at, bytes, metadata.len())?;
        }
        if kind == SECTION_STRINGS && version.is_none() && bytes <= STRINGS_BYTES_MAX {
            version = version_in(&read_at(&mut file, at, bytes)?);
        }
    }
    Ok(version)
}

struct Header {
    segments_at: u64,
    segments: u64,
    sections_at: u64,
    sections: u64,
}

impl Header {
    fn read(file: &mut File, len: u64) -> Result<Self, String> {
        if len < 64 {
            return Err(format!("{len} bytes long, too short for a shared library"));
        }
        let bytes = read_at(file, 0, 64)?;
        if !bytes.starts_with(b"\x7FELF") {
            return Err("not a shared library (no ELF header)".into());
        }
        if bytes[4..6] != [2, 1] {
            return Err("not a 64-bit little-endian shared library".into());
        }
        let sizes = (u64::from(u16_at(&bytes, 54)), u64::from(u16_at(&bytes, 58)));
        let header = Self {
            segments_at: u64_at(&bytes, 32),
            segments: u64::from(u16_at(&bytes, 56)),
            sections_at: u64_at(&bytes, 40),
            sections: u64::from(u16_at(&bytes, 60)),
        };
        let odd = header.segments == 0
            || sizes.0 != PROGRAM_HEADER_BYTES
            || (header.sections > 0 && sizes.1 != SECTION_HEADER_BYTES);
        if odd { Err("its ELF header is damaged".into()) } else { Ok(header) }
    }
}

/// The version in a symbol version such as `VERS_1.31.1`, which ONNX Runtime's builds put on their exports.
fn version_in(strings: &[u8]) -> Option<String> {
    let marked = strings.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(b"VERS_"));
    let mut versions = marked.filter(|name| !name.is_empty() && name.iter().all(|b| b.is_ascii_digit() || *b == b'.'));
    versions.next().map(|version| String::from_utf8_lossy(version).into_owned())
}

fn read_table(file: &mut File, at: u64, count: u64, entry_bytes: u64, len: u64) -> Result<Vec<u8>, String> {
    within(at, count * entry_bytes, len)?;
    read_at(file, at, count * entry_bytes)
}

fn within(at: u64, bytes: u64, len: u64) -> Result<(), String> {
    let end = at.saturating_add(bytes);
    if end <= len { Ok(()) } else { Err(format!("cut off: {len} bytes long, and its headers name bytes up to {end}")) }
}

/// `bytes` was held against the file's length, or is a constant.
fn read_at(file: &mut File, at: u64, bytes: u64) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; bytes as usize];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut buffer)).map_err(|error| error.to_string())?;
    Ok(buffer)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn inspect_bytes(bytes: &[u8]) -> Result<Option<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("library.so");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path)
    }

    #[test]
    fn this_program_is_whole_and_any_part_of_it_is_not() {
        let whole = std::env::current_exe().unwrap();
        assert_eq!(inspect(&whole), Ok(None));
        let bytes = std::fs::read(whole).unwrap();
        for len in [0, 3, 63, 64, 100, 4096, bytes.len() / 2, bytes.len() - 1] {
            assert!(inspect_bytes(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(inspect_bytes(&[b'#'; 200]).unwrap_err().contains("no ELF header"));
        assert!(inspect(&std::env::temp_dir()).unwrap_err().contains("not a file"));
    }

    #[test]
    fn the_version_is_read_from_symbol_versions() {
        assert_eq!(version_in(b"\0memcpy\0VERS_\0VERS_1.31.1\0x").as_deref(), Some("1.31.1"));
        assert_eq!(version_in(b"VERS_one\0"), None);
    }

    proptest::proptest! {
        #[test]
        fn damaged_headers_do_not_panic(at in 0usize..64, byte: u8, tail in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let mut bytes = read_at(&mut File::open(std::env::current_exe().unwrap()).unwrap(), 0, 64).unwrap();
            bytes[at] = byte;
            bytes.extend(tail);
            let _ = inspect_bytes(&bytes);
        }
    }
}
