//! Inner products of `i8`, in 32 bits.

/// Inner product of two slices of one length (`product` has checked it).
pub(crate) fn dot(query: &[i8], row: &[i8]) -> i32 {
    query.iter().zip(row).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
}

/// Inner products of `query` with four slices of its length.
pub(crate) fn dot4(query: &[i8], rows: [&[i8]; 4]) -> [i32; 4] {
    rows.map(|row| dot(query, row))
}
