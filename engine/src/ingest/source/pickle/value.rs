//! What a pickle builds: values in a row, that name each other by number. Texts and arrays stay in the file.

use std::sync::Arc;

use super::super::SourceError;
use super::name::Name;

/// Most values of a pickle: two gigabytes of them.
const VALUES_MAX: usize = 1 << 26;

/// Most bytes of arrays that the file has in another form, and that are held in memory therefore.
const HELD_BYTES_MAX: u64 = 1 << 30;

/// A value's number.
pub(super) type Id = u32;

pub(super) fn damaged() -> SourceError {
    SourceError::damaged("a pickle that contradicts itself")
}

/// A text in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) at: u64,
    pub(super) len: u32,
}

/// Bytes in the file, or in memory where the file has them in another form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    InFile { at: u64, len: u64 },
    Held(Arc<[u8]>),
}

impl Data {
    pub(super) fn len(&self) -> u64 {
        match self {
            Data::InFile { len, .. } => *len,
            Data::Held(bytes) => bytes.len() as u64,
        }
    }
}

/// A NumPy array, as far as it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Array {
    pub(super) shape: Vec<u64>,
    pub(super) dtype: String,
    pub(super) fortran_order: bool,
    pub(super) data: Option<Data>,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A number that nothing here looks at.
    Number,
    Text(Text),
    Bytes(Box<Data>),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that may be called.
    Name(Name),
    /// A type of numbers, such as `<f4`.
    Dtype(Box<str>),
    Array(Box<Array>),
}

/// All values of a pickle.
#[derive(Default)]
pub(super) struct Values {
    values: Vec<Value>,
    /// Bytes held in memory.
    held: u64,
}

impl Values {
    pub(super) fn push(&mut self, value: Value) -> Result<Id, SourceError> {
        if self.values.len() == VALUES_MAX {
            return Err(SourceError::unsupported(format!("a pickle of more than {VALUES_MAX} values")));
        }
        self.values.push(value);
        Ok(self.values.len() as Id - 1)
    }

    /// Makes room for `bytes` in memory.
    pub(super) fn hold(&mut self, bytes: u64) -> Result<(), SourceError> {
        self.held = self.held.saturating_add(bytes);
        if self.held > HELD_BYTES_MAX {
            let what = "what protocol 2 wrote of arrays (write it with protocol 4)".into();
            return Err(SourceError::TooLarge { what, bytes: self.held, limit: HELD_BYTES_MAX });
        }
        Ok(())
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id as usize]
    }

    /// The members of a list or tuple.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Where a text is.
    pub(super) fn text(&self, id: Id) -> Option<Text> {
        match self.get(id) {
            Value::Text(text) => Some(*text),
            _ => None,
        }
    }

    /// A number that is no less than 0.
    pub(super) fn count(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }
}
