//! The opcodes that build data, on a stack of values.

use std::collections::HashMap;

use super::super::SourceError;
use super::name::Name;
use super::numpy;
use super::reader::Reader;
use super::value::{Data, Id, Text, Value, Values, damaged};

/// A pickle that is being read.
pub(super) struct Machine {
    reader: Reader,
    values: Values,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine {
    /// Reads a whole pickle; its values, the one that it is, and the reader, for the texts of the values.
    pub(super) fn run(reader: Reader) -> Result<(Values, Id, Reader), SourceError> {
        let (values, memo) = (Values::default(), HashMap::new());
        let mut machine = Machine { reader, values, stack: Vec::new(), marks: Vec::new(), memo };
        let [proto, version] = machine.reader.array()?;
        if proto != 0x80 || !(2..=5).contains(&version) {
            return Err(SourceError::unsupported("a file that is no pickle of protocol 2 to 5"));
        }
        loop {
            let [opcode] = machine.reader.array()?;
            if opcode == b'.' {
                let top = machine.pop()?;
                return Ok((machine.values, top, machine.reader));
            }
            machine.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), SourceError> {
        match opcode {
            // A second PROTO, and frames: nothing to build.
            0x80 => self.reader.skip(1).map(drop),
            0x95 => self.reader.skip(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => self.int::<4>(|b| i32::from_le_bytes(b).into()),
            b'K' => self.int::<1>(|[b]| b.into()),
            b'M' => self.int::<2>(|b| u16::from_le_bytes(b).into()),
            0x8a => self.long(),
            b'G' => self.reader.skip(8).and_then(|_| self.push(Value::Number)),
            b'U' | 0x8c => self.text::<1>(|[b]| b.into()),
            b'T' | b'X' => self.text::<4>(|b| u32::from_le_bytes(b).into()),
            0x8d => self.text::<8>(u64::from_le_bytes),
            b'C' => self.data::<1>(|[b]| b.into()),
            b'B' => self.data::<4>(|b| u32::from_le_bytes(b).into()),
            0x8e | 0x96 => self.data::<8>(u64::from_le_bytes),
            b')' => self.push(Value::Tuple(Box::default())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items.into()))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(&items)
            }
            b's' => {
                let pair = [self.pop()?, self.pop()?];
                self.set(&[pair[1], pair[0]])
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)
            }
            b'h' => self.get::<1>(|[b]| b.into()),
            b'j' => self.get::<4>(u32::from_le_bytes),
            b'q' => self.put::<1>(|[b]| b.into()),
            b'r' => self.put::<4>(u32::from_le_bytes),
            0x94 => self.memoize(self.memo.len() as u32),
            b'c' => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.name(&module, &name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.values.text(module), self.values.text(name));
                let (module, name) = (self.reader.word(module)?, self.reader.word(name)?);
                self.name(&module, &name)
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let value = numpy::call(&mut self.reader, &mut self.values, callee, arguments)?;
                self.push(value)
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                numpy::build(&mut self.reader, &mut self.values, target, state)
            }
            other => Err(refused(other)),
        }
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), SourceError> {
        let name = Name::of(module, name)?;
        self.push(Value::Name(name))
    }

    fn push(&mut self, value: Value) -> Result<(), SourceError> {
        let id = self.values.push(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, SourceError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(damaged());
        }
        self.stack.pop().ok_or_else(damaged)
    }

    fn top(&self) -> Result<Id, SourceError> {
        self.stack.last().copied().ok_or_else(damaged)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, SourceError> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(damaged)?;
        Ok(self.stack.split_off(mark))
    }

    fn int<const N: usize>(&mut self, read: fn([u8; N]) -> i64) -> Result<(), SourceError> {
        let number = read(self.reader.array()?);
        self.push(Value::Int(number))
    }

    /// An integer of as many bytes as it needs.
    fn long(&mut self) -> Result<(), SourceError> {
        let [len] = self.reader.array()?;
        let bytes = self.reader.bytes(len.into())?;
        if bytes.len() > 8 {
            return self.push(Value::Number);
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
        let mut wide = [sign; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn text<const N: usize>(&mut self, read: fn([u8; N]) -> u64) -> Result<(), SourceError> {
        let len = read(self.reader.array()?);
        let len = u32::try_from(len).map_err(|_| SourceError::unsupported("a pickle with a text of 4 GiB"))?;
        let at = self.reader.skip(len.into())?;
        self.push(Value::Text(Text { at, len }))
    }

    fn data<const N: usize>(&mut self, read: fn([u8; N]) -> u64) -> Result<(), SourceError> {
        let len = read(self.reader.array()?);
        let at = self.reader.skip(len)?;
        self.push(Value::Bytes(Box::new(Data::InFile { at, len })))
    }

    fn tuple(&mut self, len: usize) -> Result<(), SourceError> {
        let mut items = vec![0; len];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Value::Tuple(items.into()))
    }

    fn append(&mut self, new: &[Id]) -> Result<(), SourceError> {
        let list = self.top()?;
        match self.values.get_mut(list) {
            Value::List(items) => {
                items.extend_from_slice(new);
                Ok(())
            }
            _ => Err(damaged()),
        }
    }

    fn set(&mut self, new: &[Id]) -> Result<(), SourceError> {
        let dict = self.top()?;
        match self.values.get_mut(dict) {
            Value::Dict(entries) if new.len().is_multiple_of(2) => {
                entries.extend(new.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err(damaged()),
        }
    }

    fn get<const N: usize>(&mut self, read: fn([u8; N]) -> u32) -> Result<(), SourceError> {
        let at = read(self.reader.array()?);
        let id = *self.memo.get(&at).ok_or_else(damaged)?;
        self.stack.push(id);
        Ok(())
    }

    fn put<const N: usize>(&mut self, read: fn([u8; N]) -> u32) -> Result<(), SourceError> {
        let at = read(self.reader.array()?);
        self.memoize(at)
    }

    fn memoize(&mut self, at: u32) -> Result<(), SourceError> {
        let id = self.top()?;
        self.memo.insert(at, id);
        Ok(())
    }
}

/// An opcode that does more than build data, by its name in `pickletools`.
fn refused(opcode: u8) -> SourceError {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        0x82..=0x84 => "EXT",
        0x97 | 0x98 => "NEXT_BUFFER",
        _ => return SourceError::unsupported(format!("a pickle with the opcode {opcode:#04x}")),
    };
    let remedy = "save the embeddings with numpy.save, and ingest the .npy";
    SourceError::Refused { name: format!("the opcode {name}"), remedy }
}
