//! The few calls that a pickle of NumPy arrays makes, understood as data.

use super::super::SourceError;
use super::name::Name;
use super::reader::Reader;
use super::value::{Array, Data, Id, Value, Values, damaged};

/// The value that a call stands for.
pub(super) fn call(reader: &mut Reader, values: &mut Values, callee: Id, arguments: Id) -> Result<Value, SourceError> {
    let Value::Name(name) = *values.get(callee) else { return Err(damaged()) };
    let arguments = values.items(arguments).ok_or_else(damaged)?;
    match (name, arguments) {
        (Name::Reconstruct, [..]) => Ok(Value::Array(Box::default())),
        (Name::Scalar, [..]) => Ok(Value::Number),
        (Name::Dtype, [name, ..]) => Ok(Value::Dtype(reader.word(values.text(*name))?.into())),
        (Name::Encode, [text, ..]) => {
            let text = *text;
            latin1(reader, values, text)
        }
        (Name::FromBuffer, [bytes, dtype, shape, order]) => {
            let fortran_order = reader.word(values.text(*order))? == "F";
            let data = Some(data_of(values, *bytes)?);
            let (shape, dtype) = (shape_of(values, *shape)?, dtype_of(values, *dtype)?);
            Ok(Value::Array(Box::new(Array { shape, dtype, fortran_order, data })))
        }
        _ => Err(damaged()),
    }
}

/// Gives an array or a type its state.
pub(super) fn build(reader: &mut Reader, values: &mut Values, target: Id, state: Id) -> Result<(), SourceError> {
    let state = values.items(state).ok_or_else(damaged)?;
    let new = match (values.get(target), state) {
        // Version, order of bytes, and what only structures have.
        (Value::Dtype(name), [_, order, ..]) => {
            let order = reader.word(values.text(*order))?;
            Value::Dtype(format!("{order}{}", name.trim_start_matches(['<', '>', '|', '='])).into())
        }
        (Value::Array(_), [_, shape, dtype, order, bytes]) => Value::Array(Box::new(Array {
            shape: shape_of(values, *shape)?,
            dtype: dtype_of(values, *dtype)?,
            fortran_order: *values.get(*order) == Value::Bool(true),
            data: Some(data_of(values, *bytes)?),
        })),
        _ => return Err(damaged()),
    };
    *values.get_mut(target) = new;
    Ok(())
}

fn shape_of(values: &Values, id: Id) -> Result<Vec<u64>, SourceError> {
    let sides = values.items(id).filter(|sides| sides.len() <= 8).ok_or_else(damaged)?;
    let sides: Vec<u64> = sides.iter().map(|side| values.count(*side)).collect::<Option<_>>().ok_or_else(damaged)?;
    let all = sides.iter().try_fold(1u64, |all, side| all.checked_mul(*side));
    all.filter(|all| *all < 1 << 48).map(|_| sides).ok_or_else(damaged)
}

fn dtype_of(values: &Values, id: Id) -> Result<String, SourceError> {
    match values.get(id) {
        Value::Dtype(name) => Ok(name.to_string()),
        _ => Err(damaged()),
    }
}

fn data_of(values: &Values, id: Id) -> Result<Data, SourceError> {
    match values.get(id) {
        Value::Bytes(data) => Ok((**data).clone()),
        Value::List(_) => Err(SourceError::unsupported("an array of Python objects; convert it with astype('<f4')")),
        _ => Err(damaged()),
    }
}

/// The bytes of a text whose characters are the bytes.
fn latin1(reader: &mut Reader, values: &mut Values, text: Id) -> Result<Value, SourceError> {
    let text = values.text(text).ok_or_else(damaged)?;
    values.hold(text.len.into())?;
    let utf8 = String::from_utf8(reader.peek(text)?).map_err(|_| damaged())?;
    let bytes = utf8.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    Ok(Value::Bytes(Box::new(Data::Held(bytes.ok_or_else(damaged)?.into()))))
}
