//! One value of a column, whatever its type. Times are numbers in the column's own unit.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
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
        // JSON has no infinities, and no numbers that are none.
        _ => number(column, row).filter(|value| !value.is_null()).map_or(Cell::Empty, Cell::Other),
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
        DataType::Time32(TimeUnit::Second) => primitive!(Time32SecondType),
        DataType::Time32(TimeUnit::Millisecond) => primitive!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => primitive!(Time64MicrosecondType),
        DataType::Time64(TimeUnit::Nanosecond) => primitive!(Time64NanosecondType),
        DataType::Duration(TimeUnit::Second) => primitive!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => primitive!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => primitive!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => primitive!(DurationNanosecondType),
        DataType::Decimal32(..) => Some(decimal(column.as_primitive::<Decimal32Type>().value_as_string(row))),
        DataType::Decimal64(..) => Some(decimal(column.as_primitive::<Decimal64Type>().value_as_string(row))),
        DataType::Decimal128(..) => Some(decimal(column.as_primitive::<Decimal128Type>().value_as_string(row))),
        DataType::Decimal256(..) => Some(decimal(column.as_primitive::<Decimal256Type>().value_as_string(row))),
        _ => None,
    }
}

/// A number where a double says the same, and else the text.
fn decimal(text: String) -> Value {
    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|&digit| digit == b'0').count();
    match text.parse::<f64>() {
        Ok(number) if digits <= f64::DIGITS as usize => number.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, DurationSecondArray, Float64Array};
    use serde_json::json;

    use super::*;

    #[test]
    fn decimals_are_numbers_as_far_as_numbers_go() {
        let prices = [Some(1999), Some(-5), Some(0), None, Some(12_345_678_901_234_567_890_i128)];
        let prices = Decimal128Array::from_iter(prices).with_precision_and_scale(30, 2).expect("it fits");
        let prices: ArrayRef = Arc::new(prices);
        let found: Vec<Cell> = (0..5).map(|row| cell(&prices, row)).collect();
        let number = |value: Value| Cell::Other(value);
        assert_eq!(found[..4], [number(json!(19.99)), number(json!(-0.05)), number(json!(0.0)), Cell::Empty]);
        assert_eq!(found[4], number(json!("123456789012345678.90")));
    }

    #[test]
    fn what_json_cannot_say_is_left_out() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NAN, 1.5]));
        let found: Vec<Cell> = (0..3).map(|row| cell(&floats, row)).collect();
        assert_eq!(found, [Cell::Empty, Cell::Empty, Cell::Other(json!(1.5))]);
        let times: ArrayRef = Arc::new(DurationSecondArray::from(vec![90]));
        assert_eq!(cell(&times, 0), Cell::Other(json!(90)));
    }
}
