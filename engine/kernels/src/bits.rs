//! 1-bit codes, and queries of four bits that are multiplied with them plane by plane.
//!
//! Bit `i % 8` of byte `i / 8` of a row is the code of element `i`. A query's element is 0..=15; bit `p` of all of
//! them makes plane `p`, laid out as a row is, and the four planes lie one after another. The inner product is the
//! number of bits that a row has in common with plane 0, twice that with plane 1, and so on.

/// Planes of a query.
pub const PLANES: usize = 4;

/// Bytes of a row of `dim` codes that no padding follows.
#[must_use]
pub const fn bytes(dim: usize) -> usize {
    dim.div_ceil(8)
}

/// Writes one bit an element; the rest of `row` becomes zero.
///
/// # Panics
/// When `row` is too short for all of `codes`.
pub fn pack(codes: impl IntoIterator<Item = bool>, row: &mut [u8]) {
    row.fill(0);
    for (at, code) in codes.into_iter().enumerate() {
        row[at / 8] |= u8::from(code) << (at % 8);
    }
}

/// Code of element `at`.
///
/// # Panics
/// When the row ends before it.
#[must_use]
pub fn unpack(row: &[u8], at: usize) -> bool {
    row[at / 8] >> (at % 8) & 1 == 1
}

/// Writes `query`, elements 0..=15, as planes; what pads a row counts for nothing.
///
/// `out`: four times as many bytes as a row has, padding included.
///
/// # Panics
/// When `out` is not, or an element exceeds 15.
pub fn prepare(query: &[u8], out: &mut [u8]) {
    let row_bytes = out.len() / PLANES;
    assert!(out.len().is_multiple_of(PLANES) && row_bytes >= bytes(query.len()), "bits: no room for the query");
    assert!(query.iter().all(|element| *element <= 15), "bits: an element has more than 4 bits");
    out.fill(0);
    for (at, element) in query.iter().enumerate() {
        for plane in 0..PLANES {
            out[plane * row_bytes + at / 8] |= (element >> plane & 1) << (at % 8);
        }
    }
}

/// The planes of a prepared query.
#[inline]
pub(crate) fn planes(query: &[u8]) -> [&[u8]; PLANES] {
    let bytes = query.len() / PLANES;
    std::array::from_fn(|plane| &query[plane * bytes..][..bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let codes: Vec<bool> = (0..77).map(|i| i * i % 7 < 3).collect();
        let mut row = [0xff; 16];
        pack(codes.iter().copied(), &mut row);
        assert!(codes.iter().enumerate().all(|(at, code)| unpack(&row, at) == *code));
        assert!(row[bytes(77)..].iter().all(|byte| *byte == 0) && !unpack(&row, 77));
    }

    #[test]
    fn planes_lie_one_after_another() {
        let mut out = [0xff; 8];
        prepare(&[1, 2, 4, 8, 15, 0, 0, 0, 3], &mut out);
        assert_eq!(out, [0b1_0001, 1, 0b1_0010, 1, 0b1_0100, 0, 0b1_1000, 0]);
    }
}
