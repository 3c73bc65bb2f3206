//! Scan or graph? A rule of one line, so that a reader can predict it and a test can hold it.

/// How to answer a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Look at every allowed row: [`crate::flat::search`].
    Scan,
    /// Walk the graph: [`crate::frozen::Graph::search`].
    Graph,
}

/// Rows for each place in the beam below which they are scanned in any case: that is exact, and quick enough.
const FEW_PER_BEAM_PLACE: u128 = 32;
/// What a graph costs for each place in its beam, in rows scanned: it scores more, but codes of half a byte an element.
const ROWS_PER_BEAM_PLACE: u128 = 4;

/// Chooses for `rows` rows, of which a filter lets about `allowed` through, and a search for `k` with beam `ef`.
///
/// A scan costs `allowed` rows in sequence. A graph costs `4 * max(ef, k)` of them without a filter, and
/// `rows / allowed` times that with one, since the beam must pass as many rows for each that counts. So it scans
/// when `allowed^2 <= 4 * max(ef, k) * rows`, and when `allowed <= 32 * max(ef, k)`: for a beam of 64, up to 2,048 rows, or
/// up to 16 thousand allowed of a million. An estimate that is wrong costs time, never an answer: a walk that meets too
/// few rows that count ends in a scan.
#[must_use]
pub fn plan(rows: usize, allowed: usize, k: usize, ef: usize) -> Plan {
    let (rows, allowed, beam) = (rows as u128, allowed.min(rows) as u128, ef.max(k).min(rows) as u128);
    let graph_rows = ROWS_PER_BEAM_PLACE.saturating_mul(beam).saturating_mul(rows);
    let few = FEW_PER_BEAM_PLACE.saturating_mul(beam);
    if allowed <= few || allowed.saturating_mul(allowed) <= graph_rows { Plan::Scan } else { Plan::Graph }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_scanned() {
        assert_eq!(plan(0, 0, 10, 64), Plan::Scan);
        assert_eq!(plan(1, 1, 10, 64), Plan::Scan);
        assert_eq!(plan(2048, 2048, 10, 64), Plan::Scan);
        assert_eq!(plan(2049, 2049, 10, 64), Plan::Graph);
    }

    #[test]
    fn a_narrow_filter_is_scanned() {
        assert_eq!(plan(1_000_000, 1_000_000, 10, 64), Plan::Graph);
        assert_eq!(plan(1_000_000, 16_001, 10, 64), Plan::Graph);
        assert_eq!(plan(1_000_000, 16_000, 10, 64), Plan::Scan);
        assert_eq!(plan(1_000_000, 0, 10, 64), Plan::Scan);
    }

    #[test]
    fn a_wide_beam_or_k_is_scanned() {
        assert_eq!(plan(100_000, 100_000, 10, 4_000), Plan::Scan);
        assert_eq!(plan(100_000, 100_000, 4_000, 10), Plan::Scan);
        assert_eq!(plan(usize::MAX, usize::MAX, usize::MAX, 0), Plan::Scan);
    }
}
