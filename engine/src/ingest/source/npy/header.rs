//! The head of a `.npy` file: a Python dictionary of three entries, read without a Python.
//!
//! Source: NumPy's `numpy.lib.format` (versions 1 to 3).

use std::io::Read;

use super::super::SourceError;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest dictionary that is read.
const DICT_BYTES_MAX: u32 = 64 << 10;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// NumPy's name for the type, such as `<f4`.
    pub(super) descr: String,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<u64>,
    /// Bytes before the data.
    pub(super) len: u64,
}

impl Header {
    pub(super) fn read(file: &mut impl Read) -> Result<Header, SourceError> {
        let cut_off = |_| SourceError::damaged("no .npy file: it ends inside its header");
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(cut_off)?;
        if !head.starts_with(MAGIC) {
            return Err(SourceError::damaged("no .npy file: it does not begin with \\x93NUMPY"));
        }
        let mut len = [0; 4];
        let width = match head[6] {
            1 => 2,
            2 | 3 => 4,
            version => return Err(SourceError::unsupported(format!("version {version} of the .npy format"))),
        };
        file.read_exact(&mut len[..width]).map_err(cut_off)?;
        let dict_len = u32::from_le_bytes(len);
        if dict_len > DICT_BYTES_MAX {
            let (bytes, limit) = (dict_len.into(), DICT_BYTES_MAX.into());
            return Err(SourceError::TooLarge { what: "its header".into(), bytes, limit });
        }
        let mut dict = vec![0; dict_len as usize];
        file.read_exact(&mut dict).map_err(cut_off)?;
        let dict = String::from_utf8_lossy(&dict);
        let len = 8 + width as u64 + u64::from(dict_len);
        Header::parse(&dict, len).ok_or_else(|| {
            SourceError::unsupported(format!(
                "an array described by {:?}",
                dict.trim().chars().take(200).collect::<String>()
            ))
        })
    }

    fn parse(dict: &str, len: u64) -> Option<Header> {
        let value = |name: &str| {
            let after = dict.split_once(&format!("'{name}'"))?.1.trim_start();
            Some(after.strip_prefix(':')?.trim_start())
        };
        let descr = value("descr")?.strip_prefix('\'')?.split('\'').next()?.to_owned();
        let fortran_order = value("fortran_order")?.starts_with("True");
        let shape = value("shape")?.strip_prefix('(')?.split(')').next()?;
        let shape = shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().ok());
        Some(Header { descr, fortran_order, shape: shape.collect::<Option<_>>()?, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_any_order_and_structures_are_refused() {
        let header = Header::parse("{'shape': (3, 4), 'fortran_order': False, 'descr': '<f4'}", 9).unwrap();
        assert_eq!(header, Header { descr: "<f4".into(), fortran_order: false, shape: vec![3, 4], len: 9 });
        assert_eq!(Header::parse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", 9), None);
        let deep = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {}", "(".repeat(60_000));
        assert_eq!(Header::parse(&deep, 9), None);
    }
}
