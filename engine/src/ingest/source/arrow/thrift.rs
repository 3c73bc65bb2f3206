//! Thrift's compact protocol, as far as a look at sizes needs it: structs of a known shape, numbers, and passing over the rest.
//!
//! What is looked at here is parsed again by the `parquet` crate, which takes a field for what its number says and not for what
//! its head says. Whatever the two could understand differently is refused: else a look could be led past what it looks
//! for. So fields have the types that their shape has, and ascend. Source: Thrift's compact protocol specification.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::super::SourceError;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
pub(super) const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
pub(super) const STRUCT: u8 = 12;

/// Deepest nesting of what is passed over.
const DEPTH_MAX: usize = 16;
const WRONG: &str = "a header of wrong types";

/// What a field must be.
pub(super) enum Kind {
    Bool,
    Byte,
    I32,
    I64,
    Binary,
    /// A struct without a field.
    Empty,
    Struct(Shape),
}

/// Fields of a struct by their numbers. Others are passed over.
pub(super) type Shape = &'static [(i16, Kind)];

/// A reader of Thrift's compact protocol.
pub(super) struct Compact<R> {
    pub(super) reader: R,
    pub(super) at: u64,
    /// Where it ends. Nothing leads beyond, or a list of a few bytes could claim 2^64 values to pass over.
    pub(super) end: u64,
}

impl<'a> Compact<BufReader<&'a File>> {
    pub(super) fn at(mut file: &'a File, at: u64, end: u64) -> Result<Self, SourceError> {
        file.seek(SeekFrom::Start(at)).map_err(|error| SourceError::damaged(error.to_string()))?;
        Ok(Compact { reader: BufReader::with_capacity(4 << 10, file), at, end })
    }
}

impl<R: Read + Seek> Compact<BufReader<R>> {
    /// The number and type of the next field of a struct, after number `last`; `None` at its end.
    pub(super) fn field(&mut self, last: i16) -> Result<Option<(i16, u8)>, String> {
        match self.byte()? {
            0 => Ok(None),
            head if head >> 4 == 0 => Err("a header whose fields do not ascend".into()),
            head => {
                let id = last.checked_add(i16::from(head >> 4)).ok_or("a header of too many fields")?;
                Ok(Some((id, head & 0x0F)))
            }
        }
    }

    /// Reads a struct of `shape`, and tells `found` each number in it: that of the struct's own field (0 for the outermost),
    /// the number's field, and its value.
    pub(super) fn read(
        &mut self,
        parent: i16,
        shape: Shape,
        found: &mut dyn FnMut(i16, i16, i64),
    ) -> Result<(), String> {
        let mut last = 0;
        while let Some((id, kind)) = self.field(last)? {
            last = id;
            let Some((_, wanted)) = shape.iter().find(|(known, _)| *known == id) else {
                self.pass(kind, DEPTH_MAX)?;
                continue;
            };
            match (wanted, kind) {
                (Kind::Bool, TRUE | FALSE) => {}
                (Kind::Byte, BYTE) | (Kind::Binary, BINARY) => self.pass(kind, 1)?,
                (Kind::I32, I32) => found(parent, id, i32::try_from(self.number()?).map_err(|_| WRONG)?.into()),
                (Kind::I64, I64) => found(parent, id, self.number()?),
                (Kind::Empty, STRUCT) if self.byte()? == 0 => {}
                (Kind::Struct(inner), STRUCT) => self.read(id, inner, found)?,
                _ => return Err(format!("{WRONG}: field {id}")),
            }
        }
        Ok(())
    }

    /// Calls `item` with the kind of each item of a list; it reads the value.
    pub(super) fn list(&mut self, item: &mut dyn FnMut(&mut Self, u8) -> Result<(), String>) -> Result<(), String> {
        let head = self.byte()?;
        let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        (0..len).try_for_each(|_| item(self, head & 0x0F))
    }

    /// Passes over a value.
    pub(super) fn pass(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        let Some(depth) = depth.checked_sub(1) else { return Err("a header that is nested too deep".into()) };
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.skip(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.skip(8),
            BINARY => {
                let len = self.varint()?;
                self.skip(len)
            }
            LIST | SET => self.list(&mut |this, kind| match kind {
                // Of these in lists readers differ on the length.
                TRUE | FALSE => Err(WRONG.into()),
                kind => this.pass(kind, depth),
            }),
            STRUCT => {
                let mut last = 0;
                while let Some((id, kind)) = self.field(last)? {
                    last = id;
                    self.pass(kind, depth)?;
                }
                Ok(())
            }
            // Maps, of which Parquet has none, and what nobody knows.
            _ => Err(WRONG.into()),
        }
    }

    /// A number with its sign.
    fn number(&mut self) -> Result<i64, String> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a header with an endless number".into())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte).map_err(|_| "the file ends inside a header".to_owned())?;
        self.at += 1;
        Ok(byte[0])
    }

    pub(super) fn skip(&mut self, len: u64) -> Result<(), String> {
        let at = self.at.checked_add(len).filter(|at| *at <= self.end);
        let (Some(at), Ok(step)) = (at, i64::try_from(len)) else {
            return Err("a header that leads out of the file".into());
        };
        self.reader.seek_relative(step).map_err(|error| error.to_string())?;
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn compact(bytes: &[u8]) -> Compact<BufReader<Cursor<Vec<u8>>>> {
        Compact { reader: BufReader::new(Cursor::new(bytes.to_vec())), at: 0, end: bytes.len() as u64 }
    }

    #[test]
    fn a_list_that_claims_values_without_end_is_refused() {
        for kind in [TRUE, BYTE, DOUBLE, BINARY, STRUCT, LIST] {
            let mut list = vec![0xF0 | kind];
            list.extend([0xFF; 9]);
            list.extend([1, 0, 0, 0, 0]);
            assert!(compact(&list).pass(LIST, 8).is_err(), "{kind}");
        }
    }

    #[test]
    fn what_readers_understand_differently_is_refused() {
        const SHAPE: Shape = &[(1, Kind::I32), (2, Kind::Struct(&[(1, Kind::Bool), (2, Kind::Empty)]))];
        let read = |bytes: &[u8]| {
            let mut numbers = Vec::new();
            compact(bytes).read(0, SHAPE, &mut |parent, id, value| numbers.push((parent, id, value))).map(|()| numbers)
        };
        assert_eq!(read(&[0x15, 7, 0x1C, 0x11, 0x1C, 0, 0, 0]), Ok(vec![(0, 1, -4)]));
        assert_eq!(read(&[0x95, 7, 0x18, 1, b'x', 0]), Ok(Vec::new()), "unknown fields are passed over");
        let wrong: [&[u8]; 8] = [
            &[0x16, 7, 0],                            // another type of number
            &[0x11, 0],                               // a truth in the place of a number
            &[0x05, 2, 7, 0],                         // a field's number in full
            &[0x15, 0x80, 0x80, 0x80, 0x80, 0x20, 0], // more than 32 bits
            &[0x2C, 0x15, 1, 0, 0],                   // a number in the place of a truth
            &[0x2C, 0x2C, 0x15, 1, 0, 0, 0],          // a field in an empty struct
            &[0x99, 0x21, 1, 1, 0],                   // truths in a list
            &[0x9B, 0, 0],                            // a map
        ];
        for bytes in wrong {
            assert!(read(bytes).is_err(), "{bytes:x?}");
        }
    }
}
