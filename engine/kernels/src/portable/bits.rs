//! Inner products of four planes of bits with 1-bit codes.

use crate::bits::planes;

/// Inner product of a prepared query with a row of a quarter of its length (`product` has checked it).
pub(crate) fn dot(query: &[u8], row: &[u8]) -> i32 {
    let common = |plane: &[u8]| -> u32 {
        let (words, tail) = row.as_chunks::<8>();
        let (of_plane, tail_of_plane) = plane.as_chunks::<8>();
        let whole = words.iter().zip(of_plane);
        let whole: u32 = whole.map(|(x, y)| (u64::from_le_bytes(*x) & u64::from_le_bytes(*y)).count_ones()).sum();
        whole + tail.iter().zip(tail_of_plane).map(|(x, y)| (x & y).count_ones()).sum::<u32>()
    };
    let [one, two, four, eight] = planes(query).map(common);
    (one + 2 * two + 4 * four + 8 * eight) as i32
}

/// Inner products of a prepared query with four rows of a quarter of its length.
pub(crate) fn dot4(query: &[u8], rows: [&[u8]; 4]) -> [i32; 4] {
    rows.map(|row| dot(query, row))
}
