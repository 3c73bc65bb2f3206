//! Weighted sums of pixels in plain Rust.

use crate::resample::{FRACTION_BITS, HALF, Tap, Taps};

/// See [`crate::resample::mix_pixels`].
pub(crate) fn mix_pixels(row: &[u8], taps: &Taps, out: &mut [u8]) {
    for (tap, pixel) in taps.iter().zip(out.chunks_exact_mut(3)) {
        mix_pixel(row, tap, pixel);
    }
}

/// One pixel of it.
pub(crate) fn mix_pixel(row: &[u8], tap: Tap<'_>, pixel: &mut [u8]) {
    let mut sums = [HALF; 3];
    let from = &row[3 * tap.start..][..3 * tap.weights.len()];
    for (rgb, weight) in from.chunks_exact(3).zip(tap.weights) {
        for c in 0..3 {
            sums[c] += i32::from(rgb[c]) * weight;
        }
    }
    for (value, sum) in pixel.iter_mut().zip(sums) {
        *value = to_byte(sum);
    }
}

/// The weighted sum of as many rows, from the first of `rows` on, as there are weights.
pub(crate) fn mix_rows(rows: &[u8], tap: Tap<'_>, out: &mut [u8]) {
    mix_columns(rows, tap, out, 0);
}

/// The columns from `from` on of it.
pub(crate) fn mix_columns(rows: &[u8], tap: Tap<'_>, out: &mut [u8], from: usize) {
    let (width, mut sums) = (out.len(), [HALF; 64]);
    for (block, out) in out[from..].chunks_mut(sums.len()).enumerate() {
        let at = from + block * sums.len();
        let sums = &mut sums[..out.len()];
        sums.fill(HALF);
        for (row, weight) in rows.chunks_exact(width).zip(tap.weights) {
            for (sum, value) in sums.iter_mut().zip(&row[at..]) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (value, sum) in out.iter_mut().zip(sums) {
            *value = to_byte(*sum);
        }
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}
