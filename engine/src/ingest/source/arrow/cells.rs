//! One value of a column, whatever its type. Times are numbers in the column's own unit.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value};

use super::super::columns::Cell;

/// Deepest nesting that is looked into.
const DEPTH_MAX: usize = 4;
/// Longest list of anything but numbers that becomes payload.
const ITEMS_MAX: usize = 1024;

/// The value of `column` at `row`. A type that has no place in a record is empty.
pub(super) fn cell(column: &ArrayRef, row: usize) -> Cell {
    nested(column, row, DEPTH_MAX)
}

fn nested(column: &ArrayRef, row: usize, depth: usize) -> Cell {
    if column.is_null(row) || depth == 0 {
        return Cell::Empty;
    }
    let bytes = |bytes: &[u8]| Cell::Bytes(bytes.to_vec());
    let text = |text: &str| Cell::Text(text.to_owned());
    match column.data_type() {
        DataType::Utf8 => text(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(column.as_string::<i64>().value(row)),
        DataType::Utf8View => text(column.as_string_view().value(row)),
        DataType::Binary => bytes(column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(column.as_binary::<i64>().value(row)),
        DataType::BinaryView => bytes(column.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => bytes(column.as_fixed_size_binary().value(row)),
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row), depth),
        DataType::List(_) => list(&column.as_list::<i32>().value(row), depth),
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(row), depth),
        DataType::Dictionary(..) => {
            let one = column.slice(row, 1);
            let keys = one.as_any_dictionary();
            nested(keys.values(), keys.normalized_keys()[0], depth - 1)
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            let field = |name: &str| {
                let at = fields.iter().position(|field| field.name() == name)?;
                Some(nested(&columns[at], row, depth - 1))
            };
            // A picture as the datasets library keeps it: its bytes, or else its path.
            match (field("bytes"), field("path")) {
                (Some(Cell::Bytes(bytes)), Some(_)) => Cell::Bytes(bytes),
                (Some(Cell::Empty), Some(path)) => path,
                _ => Cell::Other(Value::Object(
                    fields
                        .iter()
                        .zip(columns)
                        .filter_map(|(field, column)| {
                            Some((field.name().clone(), nested(column, row, depth - 1).json()?))
                        })
                        .collect::<Map<_, _>>(),
                )),
            }
        }
        _ => number(column, row).map_or(Cell::Empty, Cell::Other),
    }
}

fn list(items: &ArrayRef, depth: usize) -> Cell {
    let floats: Option<Vec<f32>> = match items.data_type() {
        _ if items.null_count() > 0 => None,
        DataType::Float16 => Some(items.as_primitive::<Float16Type>().values().iter().map(|v| v.to_f32()).collect()),
        DataType::Float32 => Some(items.as_primitive::<Float32Type>().values().to_vec()),
        DataType::Float64 => Some(items.as_primitive::<Float64Type>().values().iter().map(|v| *v as f32).collect()),
        _ => None,
    };
    if let Some(floats) = floats {
        return Cell::Floats(floats);
    }
    let items = (0..items.len().min(ITEMS_MAX)).map(|at| nested(items, at, depth - 1).json().unwrap_or(Value::Null));
    Cell::Other(Value::Array(items.collect()))
}

/// A number or a truth.
fn number(column: &ArrayRef, row: usize) -> Option<Value> {
    macro_rules! primitive {
        ($kind:ty) => {
            Some(Value::from(column.as_primitive::<$kind>().value(row)))
        };
    }
    match column.data_type() {
        DataType::Boolean => Some(Value::Bool(column.as_boolean().value(row))),
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::UInt8 => primitive!(UInt8Type),
        DataType::UInt16 => primitive!(UInt16Type),
        DataType::UInt32 => primitive!(UInt32Type),
        DataType::UInt64 => primitive!(UInt64Type),
        DataType::Float16 => Some(Value::from(column.as_primitive::<Float16Type>().value(row).to_f32())),
        DataType::Float32 => primitive!(Float32Type),
        DataType::Float64 => primitive!(Float64Type),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Date64 => primitive!(Date64Type),
        DataType::Timestamp(TimeUnit::Second, _) => primitive!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
        _ => None,
    }
}
