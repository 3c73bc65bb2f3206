//! 4-bit codes: two to a byte, and the order in which a query meets them.
//!
//! Byte `j` of a row holds the code of element `2j` in its low half and that of element `2j + 1` in its high half,
//! each 0..=15. A kernel splits a register of such bytes into its low and its high halves, so it wants the query's
//! even elements apart from its odd ones; [`prepare`] deals them out once a search, whatever the register's width.

/// Bytes of a row of `dim` codes that no padding follows.
#[must_use]
pub const fn bytes(dim: usize) -> usize {
    dim.div_ceil(2)
}

/// Writes `query` in the order in which the kernels read it: even elements, then odd ones, each half filled up with
/// zeros, so that whatever pads a row counts for nothing.
///
/// `out`: twice as many elements as a row has bytes, padding included.
///
/// # Panics
/// When `out` is odd or shorter than `query`.
pub fn prepare(query: &[i8], out: &mut [i8]) {
    assert!(out.len().is_multiple_of(2) && out.len() >= query.len(), "int4: no room for the query");
    out.fill(0);
    let (even, odd) = out.split_at_mut(out.len() / 2);
    let (pairs, last) = query.as_chunks::<2>();
    for ((even, odd), pair) in even.iter_mut().zip(odd).zip(pairs) {
        [*even, *odd] = *pair;
    }
    if let [last] = last {
        even[pairs.len()] = *last;
    }
}

/// Writes `codes` two to a byte; the rest of `row` becomes zero.
///
/// # Panics
/// When `row` is shorter than [`bytes`] of `codes.len()`, or a code exceeds 15.
pub fn pack(codes: &[u8], row: &mut [u8]) {
    assert!(codes.iter().all(|code| *code <= 15), "int4: a code has more than 4 bits");
    row.fill(0);
    for (at, code) in codes.iter().enumerate() {
        row[at / 2] |= code << (4 * (at % 2));
    }
}

/// Code of element `at`.
///
/// # Panics
/// When the row ends before it.
#[must_use]
pub fn unpack(row: &[u8], at: usize) -> u8 {
    row[at / 2] >> (4 * (at % 2)) & 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out() {
        let codes: Vec<u8> = (0..33).map(|i| (i * 7 % 16) as u8).collect();
        let mut row = [0xff; 32];
        pack(&codes, &mut row);
        assert!(codes.iter().enumerate().all(|(at, code)| unpack(&row, at) == *code));
        assert!(row[bytes(33)..].iter().all(|byte| *byte == 0) && unpack(&row, 33) == 0);
    }

    #[test]
    fn even_then_odd() {
        let mut out = [9; 8];
        prepare(&[1, 2, 3, 4, 5], &mut out);
        assert_eq!(out, [1, 3, 5, 0, 2, 4, 0, 0]);
    }
}
