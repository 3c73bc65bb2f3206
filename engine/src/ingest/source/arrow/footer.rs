//! The footer of a Parquet file, looked at before it is parsed: how long it is, and how deep its schema.
//!
//! A schema is a tree, and its reader goes down it by calling itself: one that is nested deep enough ends the process for
//! want of a stack, which nothing can catch. Source: `parquet.thrift` of apache/parquet-format.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::super::SourceError;
use super::thrift::{Compact, I32, LIST, STRUCT};

/// Deepest nesting of what is passed over.
const DEPTH_MAX: usize = 16;
/// Deepest nesting of a schema.
const LEVELS_MAX: usize = 32;

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

fn check_schema<R: Read + Seek>(mut footer: Compact<BufReader<R>>) -> Result<(), String> {
    footer.fields(DEPTH_MAX, &mut |this, id, kind| {
        if (id, kind) != (2, LIST) {
            return this.pass(kind, DEPTH_MAX);
        }
        // How many elements are still to come in each of the groups that the next one lies in.
        let mut open: Vec<u64> = Vec::new();
        this.list(&mut |this, kind| {
            let children =
                if kind == STRUCT { children(this)? } else { return Err("a schema of unknown types".into()) };
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
    })
}

/// How many children the schema's element at the present place has.
fn children<R: Read + Seek>(footer: &mut Compact<BufReader<R>>) -> Result<u64, String> {
    let mut children = 0;
    footer.fields(DEPTH_MAX, &mut |this, id, kind| match (id, kind) {
        (5, I32) => {
            children = this.size()?;
            Ok(())
        }
        _ => this.pass(kind, DEPTH_MAX),
    })?;
    Ok(children)
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
        let wide =
            [&[0x19, 0xFC, 201, 1][..], &[0x48, 1, b'r', 0x15, 0x90, 3, 0], &[0x48, 1, b'a', 0].repeat(200), &[0]];
        assert_eq!(check(wide.concat()), Ok(()));
    }
}
