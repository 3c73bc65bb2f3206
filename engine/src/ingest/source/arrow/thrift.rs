//! Thrift's compact protocol, as far as a look at sizes needs it: fields of structs, numbers, and passing over the rest.
//!
//! Source: Thrift's compact protocol specification.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::super::SourceError;

pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const BYTE: u8 = 3;
pub(super) const I16: u8 = 4;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const DOUBLE: u8 = 7;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const SET: u8 = 10;
pub(super) const MAP: u8 = 11;
pub(super) const STRUCT: u8 = 12;

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
    /// Calls `field` with the number and kind of each field of a struct; it reads the value.
    pub(super) fn fields(
        &mut self,
        depth: usize,
        field: &mut dyn FnMut(&mut Self, i16, u8) -> Result<(), String>,
    ) -> Result<(), String> {
        if depth == 0 {
            return Err("a header that is nested too deep".into());
        }
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0F;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.varint()? as i16,
                step => id.wrapping_add(step.into()),
            };
            field(self, id, kind)?;
        }
    }

    /// Calls `item` with the kind of each item of a list; it reads the value.
    pub(super) fn list(&mut self, item: &mut dyn FnMut(&mut Self, u8) -> Result<(), String>) -> Result<(), String> {
        let head = self.byte()?;
        let len = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        (0..len).try_for_each(|_| item(self, head & 0x0F))
    }

    /// Passes over a value.
    pub(super) fn pass(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        if depth == 0 {
            return Err("a header that is nested too deep".into());
        }
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
                TRUE | FALSE => this.skip(1),
                kind => this.pass(kind, depth - 1),
            }),
            STRUCT => self.fields(depth - 1, &mut |this, _, kind| this.pass(kind, depth - 1)),
            MAP => Err("a header with a map".into()),
            _ => Err("a header of unknown types".into()),
        }
    }

    /// A number that is no less than 0.
    pub(super) fn size(&mut self) -> Result<u64, String> {
        let zigzag = self.varint()?;
        if zigzag & 1 == 0 { Ok(zigzag >> 1) } else { Err("a header with a negative size".into()) }
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

    #[test]
    fn a_list_that_claims_values_without_end_is_refused() {
        for kind in [TRUE, BYTE, DOUBLE, BINARY, STRUCT, LIST] {
            let mut list = vec![0xF0 | kind];
            list.extend([0xFF; 9]);
            list.extend([1, 0, 0, 0, 0]);
            let end = list.len() as u64;
            let mut compact = Compact { reader: BufReader::new(Cursor::new(list)), at: 0, end };
            assert!(compact.pass(LIST, 8).is_err(), "{kind}");
        }
    }
}
