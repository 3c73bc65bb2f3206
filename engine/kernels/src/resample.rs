//! Weighted sums of pixels: what resizing a picture is made of, exact in fixed point, whoever computes it.
//!
//! A weight has [`FRACTION_BITS`] fractional bits; a sum is rounded to the nearest byte. All sums are of integers, so the
//! instruction sets cannot differ; before the first use AVX2 is compared with the portable way all the same, as `choice`
//! does with products.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::portable::resample as portable;

/// Fractional bits of a weight.
pub const FRACTION_BITS: u32 = 22;
/// Half of a byte's unit: what rounds a sum to the nearest.
pub(crate) const HALF: i32 = 1 << (FRACTION_BITS - 1);
/// A weight is a high half times two to the power of so many, and a low half.
pub(crate) const LOW_BITS: u32 = 11;
/// Weights that are taken together.
pub(crate) const AT_ONCE: usize = 4;

/// For each element of a result: the source elements that it is the weighted sum of, which are neighbours.
#[derive(Clone, Debug, Default)]
pub struct Taps {
    spans: Vec<Span>,
    weights: Vec<i32>,
    halves: Vec<Halves>,
    source: Range<u32>,
}

/// Four weights in halves of 16 bits, the first one's lowest; zeros where a span has none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Halves {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    /// Where its weights begin, how many there are, and where its halves begin.
    weights: u32,
    len: u32,
    halves: u32,
}

/// The weights of one element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap<'a> {
    pub(crate) start: usize,
    pub(crate) weights: &'a [i32],
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AVX2 reads them"))]
    pub(crate) halves: &'a [Halves],
}

impl Taps {
    /// Adds an element, the sum of the source elements from `start` on, each with its weight.
    ///
    /// # Panics
    /// When a weight is not between -16 and 16: no kernel of interpolation has such.
    pub fn push(&mut self, start: u32, weights: &[i32]) {
        let most = 16 << FRACTION_BITS;
        assert!(weights.iter().all(|weight| (-most..most).contains(weight)), "a weight that is none: {weights:?}");
        let (of_weights, of_halves) = (self.weights.len() as u32, self.halves.len() as u32);
        let end = start + weights.len() as u32;
        self.source = match self.spans.is_empty() {
            true => start..end,
            false => self.source.start.min(start)..self.source.end.max(end),
        };
        self.spans.push(Span { start, weights: of_weights, len: weights.len() as u32, halves: of_halves });
        self.weights.extend_from_slice(weights);
        self.halves.extend(weights.chunks(AT_ONCE).map(|four| {
            let mut halves = Halves::default();
            for (at, weight) in four.iter().enumerate() {
                halves.high |= u64::from((weight >> LOW_BITS) as u16) << (16 * at);
                halves.low |= ((weight & ((1 << LOW_BITS) - 1)) as u64) << (16 * at);
            }
            halves
        }));
    }

    /// Elements of the result.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The source elements, from the first to one after the last, that any element is made of.
    #[must_use]
    pub fn source(&self) -> Range<u32> {
        self.source.clone()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Tap<'_>> {
        self.spans.iter().map(|span| {
            let (weights, len, halves) = (span.weights as usize, span.len as usize, span.halves as usize);
            Tap {
                start: span.start as usize,
                weights: &self.weights[weights..weights + len],
                halves: &self.halves[halves..halves + len.div_ceil(AT_ONCE)],
            }
        })
    }
}

/// One row of RGB pixels resized across: `out` (three bytes for each of `taps`) from `row`.
///
/// # Panics
/// When `out` has another length, or a tap leads out of `row`.
pub fn mix_pixels(row: &[u8], taps: &Taps, out: &mut [u8]) {
    assert_eq!(out.len(), 3 * taps.len(), "mix_pixels: three bytes for each tap");
    assert!(taps.source().end as usize * 3 <= row.len(), "mix_pixels: a tap leads out of the row");
    #[cfg(target_arch = "x86_64")]
    if uses_avx2() {
        // SAFETY: `uses_avx2` has found AVX2.
        return unsafe { crate::avx2::resample::mix_pixels(row, taps, out) };
    }
    portable::mix_pixels(row, taps, out);
}

/// Rows of bytes, one after another, resized down: `out` has a row of `row_bytes` for each of `taps`. Taps count rows from
/// `first`, which is the row that `rows` begins with.
///
/// # Panics
/// When `out` has another length, or a tap leads out of `rows`.
pub fn mix_rows(rows: &[u8], row_bytes: usize, first: u32, taps: &Taps, out: &mut [u8]) {
    assert_eq!(out.len(), row_bytes * taps.len(), "mix_rows: a row for each tap");
    let source = taps.source();
    let is_inside = first <= source.start && (source.end - first) as usize * row_bytes <= rows.len();
    assert!(taps.is_empty() || is_inside, "mix_rows: a tap leads out of the rows");
    if row_bytes == 0 {
        return;
    }
    for (tap, out) in taps.iter().zip(out.chunks_exact_mut(row_bytes)) {
        let rows = &rows[(tap.start - first as usize) * row_bytes..];
        #[cfg(target_arch = "x86_64")]
        if uses_avx2() {
            // SAFETY: `uses_avx2` has found AVX2.
            unsafe { crate::avx2::resample::mix_rows(rows, tap, out) };
            continue;
        }
        portable::mix_rows(rows, tap, out);
    }
}

/// Whether this process resizes with AVX2: it has it, nothing else was asked for, and the sums are right.
#[cfg(target_arch = "x86_64")]
fn uses_avx2() -> bool {
    static USES: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *USES.get_or_init(|| {
        let is_wanted = crate::kernel_choice().kernel.instruction_set() != crate::InstructionSet::Portable;
        is_wanted && crate::avx2::is_available() && is_avx2_right()
    })
}

#[cfg(target_arch = "x86_64")]
fn is_avx2_right() -> bool {
    let row: Vec<u8> = (0..300_u32).map(|at| (at * 89 + at / 7 * 131) as u8).collect();
    let mut taps = Taps::default();
    for (start, len) in [(0, 4), (3, 1), (10, 13), (50, 8), (87, 13), (99, 1)] {
        let weights: Vec<i32> = (0..len).map(|at| (at - 2) * 1_234_567 % (1 << FRACTION_BITS) / len).collect();
        taps.push(start, &weights);
    }
    let (mut wanted, mut found) = (vec![0; 3 * taps.len()], vec![0; 3 * taps.len()]);
    portable::mix_pixels(&row, &taps, &mut wanted);
    // SAFETY: the caller has found AVX2.
    unsafe { crate::avx2::resample::mix_pixels(&row, &taps, &mut found) };
    let across = wanted == found;
    let mut rows = Taps::default();
    rows.push(0, &[-400_000, 2_900_001, 2_000_000, 94_303, -399_999]);
    let tap = rows.iter().next().expect("one was pushed");
    let (mut wanted, mut found) = ([0; 60], [0; 60]);
    portable::mix_rows(&row, tap, &mut wanted);
    // SAFETY: as above.
    unsafe { crate::avx2::resample::mix_rows(&row, tap, &mut found) };
    let is_right = across && wanted == found;
    if !is_right {
        tracing::warn!("pictures are not resized with avx2: its sums are wrong on this processor; please report it");
    }
    is_right
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pixels, and elements made of neighbours among them.
    fn case() -> impl Strategy<Value = (Vec<u8>, Vec<(u32, Vec<i32>)>)> {
        (1_usize..120).prop_flat_map(|pixels| {
            let tap = (0..pixels as u32).prop_flat_map(move |start| {
                let most = (pixels as u32 - start).min(40) as usize;
                (Just(start), prop::collection::vec(-(3 << 21)..(3 << 21), 1..=most))
            });
            (prop::collection::vec(any::<u8>(), 3 * pixels), prop::collection::vec(tap, 1..20))
        })
    }

    /// What a sum is by definition.
    fn reference(values: impl Iterator<Item = (u8, i32)>) -> u8 {
        let sum: i64 = values.map(|(value, weight)| i64::from(value) * i64::from(weight)).sum();
        ((sum + i64::from(HALF)) >> FRACTION_BITS).clamp(0, 255) as u8
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_way_gives_the_sum((row, wanted) in case()) {
            let mut taps = Taps::default();
            // A sum of weights that no kernel has would leave 32 bits: each weight gets its share.
            let wanted: Vec<(u32, Vec<i32>)> = wanted
                .into_iter()
                .map(|(start, weights)| { let n = weights.len() as i32; (start, weights.iter().map(|w| w / n).collect()) })
                .collect();
            wanted.iter().for_each(|(start, weights)| taps.push(*start, weights));
            let mut out = vec![0; 3 * taps.len()];
            for portably in [true, false] {
                if portably { portable::mix_pixels(&row, &taps, &mut out) } else { mix_pixels(&row, &taps, &mut out) }
                for ((start, weights), pixel) in wanted.iter().zip(out.chunks_exact(3)) {
                    for c in 0..3 {
                        let values = weights.iter().enumerate().map(|(n, w)| (row[3 * (*start as usize + n) + c], *w));
                        prop_assert_eq!(pixel[c], reference(values));
                    }
                }
            }
            // The same row as rows of `width` bytes.
            for width in [3, 48, 51] {
                let height = row.len() / width;
                let inside = |(start, weights): &&(u32, Vec<i32>)| (*start as usize + weights.len()) <= height;
                let mut down = Taps::default();
                wanted.iter().filter(inside).for_each(|(start, weights)| down.push(*start, weights));
                let mut out = vec![0; width * down.len()];
                mix_rows(&row, width, 0, &down, &mut out);
                for ((start, weights), line) in wanted.iter().filter(inside).zip(out.chunks_exact(width)) {
                    for (x, byte) in line.iter().enumerate() {
                        let values = weights.iter().enumerate().map(|(n, w)| (row[width * (*start as usize + n) + x], *w));
                        prop_assert_eq!(*byte, reference(values));
                    }
                }
            }
        }
    }
}
