//! The footer of a Parquet file, looked at before it is parsed: how long it is, and how deep its schema.
//!
//! A schema is a tree, and its reader goes down it by calling itself: one that is nested deep enough ends the process for
//! want of a stack, which nothing can catch. Source: `parquet.thrift` of apache/parquet-format.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::super::SourceError;
use super::thrift::{Compact, I32, Kind, LIST, STRUCT, Shape};

/// Deepest nesting of a schema.
const LEVELS_MAX: usize = 32;

const UNIT: Shape = &[(1, Kind::Empty), (2, Kind::Empty), (3, Kind::Empty)];
const TIME: Shape = &[(1, Kind::Bool), (2, Kind::Struct(UNIT))];
const LOGICAL_TYPE: Shape = &[
    (1, Kind::Empty),
    (2, Kind::Empty),
    (3, Kind::Empty),
    (4, Kind::Empty),
    (5, Kind::Struct(&[(1, Kind::I32), (2, Kind::I32)])),
    (6, Kind::Empty),
    (7, Kind::Struct(TIME)),
    (8, Kind::Struct(TIME)),
    (10, Kind::Struct(&[(1, Kind::Byte), (2, Kind::Bool)])),
    (11, Kind::Empty),
    (12, Kind::Empty),
    (13, Kind::Empty),
    (14, Kind::Empty),
    (15, Kind::Empty),
    (16, Kind::Struct(&[(1, Kind::Byte)])),
    (17, Kind::Struct(&[(1, Kind::Binary)])),
    (18, Kind::Struct(&[(1, Kind::Binary), (2, Kind::I32)])),
    (19, Kind::Empty),
];
/// An element of the schema; field 5 is the number of its children.
const ELEMENT: Shape = &[
    (1, Kind::I32),
    (2, Kind::I32),
    (3, Kind::I32),
    (4, Kind::Binary),
    (5, Kind::I32),
    (6, Kind::I32),
    (7, Kind::I32),
    (8, Kind::I32),
    (9, Kind::I32),
    (10, Kind::Struct(LOGICAL_TYPE)),
];

/// # Errors
/// It is no Parquet file, or its footer is larger, or its schema deeper, than it may be.
pub(super) fn check(mut file: &File, limit: u64) -> Result<(), SourceError> {
    let mut tail = [0; 8];
    let read = file.seek(SeekFrom::End(-8)).and_then(|at| file.read_exact(&mut tail).map(|()| at));
    let at = read.map_err(|_| SourceError::damaged("no Parquet file: it is too short"))?;
    let [a, b, c, d, magic @ ..] = tail;
    if &magic != b"PAR1" {
        return Err(SourceError::damaged("no Parquet file, or one that was cut off: it does not end in PAR1"));
    }
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    if len > at.min(limit) {
        return Err(SourceError::TooLarge { what: "its footer".into(), bytes: len, limit: at.min(limit) });
    }
    let footer = Compact::at(file, at - len, at)?;
    check_schema(footer).map_err(|problem| SourceError::damaged(format!("its footer: {problem}")))
}

/// Looks at the schema, which is the footer's second field and behind a number alone; what follows has no depth.
fn check_schema<R: Read + Seek>(mut footer: Compact<BufReader<R>>) -> Result<(), String> {
    let mut field = footer.field(0)?;
    if field == Some((1, I32)) {
        footer.pass(I32, 1)?;
        field = footer.field(1)?;
    }
    if field != Some((2, LIST)) {
        return Err("it does not begin with a schema".into());
    }
    // How many elements are still to come in each of the groups that the next one lies in.
    let mut open: Vec<i64> = Vec::new();
    footer.list(&mut |this, kind| {
        if kind != STRUCT {
            return Err("a schema of unknown types".into());
        }
        let mut children = 0;
        this.read(0, ELEMENT, &mut |parent, id, value| {
            if (parent, id) == (0, 5) {
                children = value;
            }
        })?;
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
        }
        if open.len() > LEVELS_MAX { Err(format!("a schema of more than {LEVELS_MAX} levels")) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A footer whose schema has `levels` groups in each other, and a column in the last.
    fn nested(levels: usize) -> Vec<u8> {
        let group = [0x35, 0, 0x18, 1, b'a', 0x15, 2, 0];
        let leaf = [0x15, 2, 0x25, 0, 0x18, 1, b'a', 0];
        let count = levels + 1;
        let mut footer = vec![0x15, 2, 0x19, 0xFC, count as u8 | 0x80, (count >> 7) as u8];
        footer.extend(group.repeat(levels));
        footer.extend(leaf);
        footer.extend([0x16, 0, 0x19, 0x0C, 0]);
        footer
    }

    #[test]
    fn a_schema_too_deep_is_refused_and_one_that_is_wide_is_not() {
        let check = |footer: Vec<u8>| {
            let end = footer.len() as u64;
            check_schema(Compact { reader: BufReader::new(Cursor::new(footer)), at: 0, end })
        };
        assert_eq!(check(nested(LEVELS_MAX)), Ok(()));
        assert_eq!(check(nested(LEVELS_MAX + 1)), Err("a schema of more than 32 levels".to_owned()));
        // The number of children under another type, which the reader of the schema does not mind.
        let mut hidden = nested(LEVELS_MAX + 1);
        hidden.iter_mut().skip(6).filter(|byte| **byte == 0x15).for_each(|byte| *byte = 0x16);
        assert!(check(hidden).is_err_and(|problem| problem.contains("wrong types")));
        let wide =
            [&[0x29, 0xFC, 201, 1][..], &[0x48, 1, b'r', 0x15, 0x90, 3, 0], &[0x48, 1, b'a', 0].repeat(200), &[0]];
        assert_eq!(check(wide.concat()), Ok(()));
    }
}
