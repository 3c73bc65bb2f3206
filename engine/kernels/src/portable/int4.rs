//! Inner products of `i8` with 4-bit codes, two to a byte.

/// Inner product of a prepared query with a row of half its length (`product` has checked it).
pub(crate) fn dot(query: &[i8], row: &[u8]) -> i32 {
    let (even, odd) = query.split_at(query.len() / 2);
    let pairs = even.iter().zip(odd).zip(row);
    pairs
        .map(|((even, odd), code)| i32::from(*even) * i32::from(code & 15) + i32::from(*odd) * i32::from(code >> 4))
        .sum()
}

/// Inner products of a prepared query with four rows of half its length.
pub(crate) fn dot4(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    rows.map(|row| dot(query, row))
}
