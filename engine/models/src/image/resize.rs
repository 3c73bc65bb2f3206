//! Bicubic resizing that repeats Pillow's pixels exactly.
//!
//! Vision encoders were trained on pictures that Pillow shrank, so "bicubic" alone is not enough: the kernel is Keys'
//! with a = -0.5, it is widened when shrinking (so that every source pixel counts), weights are rounded to 22
//! fractional bits, columns are resized before rows, and each pass is rounded to 8 bits. The tests compare with Pillow
//! and expect no pixel to differ.
//!
//! Only the part of the result that is asked for is computed, and a source is read row by row, so that pasting a
//! picture on a background or cropping the result costs no picture in between.
//!
//! Source: Keys 1981, "Cubic convolution interpolation for digital image processing"; the fixed-point arithmetic
//! follows `Resample.c` of Pillow.

use std::ops::Range;

use fromagerie_kernels::resample::{FRACTION_BITS, Taps, mix_pixels, mix_rows};

/// RGB rows to be resized.
pub(super) trait Rows {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Row `y`, three bytes a pixel, either from where it lies or written to `scratch`.
    fn row<'a>(&'a self, y: u32, scratch: &'a mut Vec<u8>) -> &'a [u8];

    /// The colour of row `y`, where it is known to have only one; it then need not be resized across.
    fn single_colour(&self, y: u32) -> Option<[u8; 3]>;
}

/// The columns and rows of a result that are wanted.
pub(super) struct Window {
    pub(super) columns: Range<u32>,
    pub(super) rows: Range<u32>,
}

/// The part `window` of `source` resized to `width` x `height`: RGB, row by row.
pub(super) fn bicubic(source: &impl Rows, (width, height): (u32, u32), window: &Window) -> Vec<u8> {
    let (source_width, source_height) = source.size();
    let columns = taps(source_width, width, window.columns.clone());
    let rows = taps(source_height, height, window.rows.clone());
    let needed = rows.source();
    let row_bytes = 3 * window.columns.len();

    let mut narrow = vec![0; row_bytes * needed.len()];
    let mut scratch = Vec::new();
    for (y, out) in needed.clone().zip(narrow.chunks_exact_mut(row_bytes)) {
        match source.single_colour(y) {
            Some(rgb) => out.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&rgb)),
            None => mix_pixels(source.row(y, &mut scratch), &columns, out),
        }
    }
    let mut result = vec![0; row_bytes * window.rows.len()];
    mix_rows(&narrow, row_bytes, needed.start, &rows, &mut result);
    result
}

/// What each wanted pixel of one axis is made of, when `source` pixels become `target`.
fn taps(source: u32, target: u32, wanted: Range<u32>) -> Taps {
    let scale = f64::from(source) / f64::from(target);
    let widened = scale.max(1.0);
    let support = 2.0 * widened;
    let (mut taps, mut kernel, mut weights) = (Taps::default(), Vec::new(), Vec::new());
    for pixel in wanted {
        let center = (f64::from(pixel) + 0.5) * scale;
        // Truncation towards zero is what Pillow does, and both are clamped to the source.
        let start = ((center - support + 0.5) as i64).max(0) as u32;
        let end = ((center + support + 0.5) as i64).min(i64::from(source)) as u32;
        kernel.clear();
        kernel.extend((start..end).map(|x| keys((f64::from(x) - center + 0.5) * (1.0 / widened))));
        let sum = kernel.iter().sum::<f64>();
        weights.clear();
        weights.extend(kernel.iter().map(|weight| fixed(if sum == 0.0 { *weight } else { weight / sum })));
        taps.push(start, &weights);
    }
    taps
}

/// Keys' cubic kernel, a = -0.5.
fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1u32 << FRACTION_BITS);
    (scaled + 0.5f64.copysign(weight)) as i32
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::image::Picture;
    use crate::image::canvas::Canvas;
    use crate::image::preprocess::tests::noise;

    #[derive(Deserialize)]
    struct Case {
        from: (u32, u32),
        to: (u32, u32),
        sha256: String,
    }

    #[test]
    fn no_pixel_differs_from_pillow() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/fixtures/golden_resize.json")).unwrap();
        assert!(cases.len() > 10);
        for Case { from: (width, height), to, sha256 } in cases {
            let picture = Picture::from_rgb(width, height, noise(width, height, 3)).unwrap();
            let all = Window { columns: 0..to.0, rows: 0..to.1 };
            let whole = bicubic(&Canvas::plain(&picture), to, &all);
            assert_eq!(hex::encode(Sha256::digest(&whole)), sha256, "{width}x{height} to {to:?}");

            let part = Window { columns: to.0 / 3..to.0.div_ceil(2), rows: to.1 / 4..to.1 };
            let cropped = bicubic(&Canvas::plain(&picture), to, &part);
            let expected: Vec<u8> = part
                .rows
                .flat_map(|y| (part.columns.clone()).flat_map(move |x| (0..3).map(move |c| (y * to.0 + x) * 3 + c)))
                .map(|at| whole[at as usize])
                .collect();
            assert_eq!(cropped, expected, "a window of {width}x{height} to {to:?}");
        }
    }

    #[test]
    fn one_colour_stays_that_colour() {
        for rgb in [[0, 0, 0], [255, 255, 255], [7, 130, 249]] {
            let picture = Picture::filled(97, 31, rgb).unwrap();
            for to in [(1, 1), (13, 200), (97, 31)] {
                let all = Window { columns: 0..to.0, rows: 0..to.1 };
                assert!(bicubic(&Canvas::plain(&picture), to, &all).chunks_exact(3).all(|pixel| pixel == rgb));
            }
        }
    }
}
