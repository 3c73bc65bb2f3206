//! What lies behind a picture: a transparent one is pasted on a background, and trimmed to what is visible.
//!
//! Nothing is laid out: a [`Canvas`] makes its rows when they are asked for, so that a line of pixels on its large
//! square costs no more memory than the line.

use std::ops::Range;

use serde::Deserialize;

use super::Picture;
use super::resize::Rows;

/// What to do with transparent pixels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transparency {
    pub(super) background: [u8; 3],
    pub(super) trim: bool,
    #[serde(default)]
    pub(super) margin: f64,
}

/// A picture as it is resized: as it is, or the visible part of it on a background. Rows are made when asked for.
pub(super) struct Canvas<'a> {
    picture: &'a Picture,
    width: u32,
    height: u32,
    /// Where the picture's part lies on the canvas.
    offset: (u32, u32),
    /// The part of the picture shown.
    columns: Range<u32>,
    rows: Range<u32>,
    background: Option<[u8; 3]>,
}

impl<'a> Canvas<'a> {
    /// The picture without its opacity.
    pub(super) fn plain(picture: &'a Picture) -> Self {
        let (width, height) = (picture.width(), picture.height());
        Self { picture, width, height, offset: (0, 0), columns: 0..width, rows: 0..height, background: None }
    }

    /// The whole picture on a background.
    pub(super) fn on(picture: &'a Picture, background: [u8; 3]) -> Self {
        Self { background: Some(background), ..Self::plain(picture) }
    }

    /// The picture, or what is visible of it, on the rule's background.
    pub(super) fn transparent(picture: &'a Picture, rule: &Transparency) -> Self {
        let whole = Self::on(picture, rule.background);
        if !rule.trim {
            return whole;
        }
        let (columns, rows) = visible(picture).unwrap_or((0..picture.width(), 0..picture.height()));
        let (width, height) = (columns.len() as u32, rows.len() as u32);
        let side = (f64::from(width.max(height)) * (1.0 + 2.0 * rule.margin)).ceil() as u32;
        let offset = ((side - width) / 2, (side - height) / 2);
        Self { width: side, height: side, offset, columns, rows, ..whole }
    }
}

impl Canvas<'_> {
    /// The picture's row that lies in row `y` of the canvas.
    fn shown(&self, y: u32) -> Option<u32> {
        y.checked_sub(self.offset.1).map(|y| y + self.rows.start).filter(|y| self.rows.contains(y))
    }
}

impl Rows for Canvas<'_> {
    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn single_colour(&self, y: u32) -> Option<[u8; 3]> {
        if self.shown(y).is_some() { None } else { self.background }
    }

    fn row<'b>(&'b self, y: u32, scratch: &'b mut Vec<u8>) -> &'b [u8] {
        let shown = self.shown(y);
        let channels = self.picture.channels();
        let part = shown.map(|y| {
            let columns = self.columns.start as usize * channels..self.columns.end as usize * channels;
            &self.picture.row(y)[columns]
        });
        match (part, self.background) {
            (Some(row), None) if channels == 3 => row,
            (part, background) => {
                let background = background.unwrap_or_default();
                scratch.clear();
                scratch.extend(background.repeat(self.offset.0 as usize));
                for pixel in part.unwrap_or_default().chunks_exact(channels) {
                    scratch.extend_from_slice(&match (pixel, self.background) {
                        ([r, g, b, a], Some(behind)) => blend([*r, *g, *b], *a, behind),
                        (pixel, _) => [pixel[0], pixel[1], pixel[2]],
                    });
                }
                let missing = self.width as usize - scratch.len() / 3;
                scratch.extend(background.repeat(missing));
                scratch
            }
        }
    }
}

/// `colour` of opacity `alpha` before `behind`, rounded to the nearest; 255 is odd, so there are no ties.
fn blend(colour: [u8; 3], alpha: u8, behind: [u8; 3]) -> [u8; 3] {
    let (alpha, rest) = (u32::from(alpha), u32::from(255 - alpha));
    std::array::from_fn(|c| ((u32::from(colour[c]) * alpha + u32::from(behind[c]) * rest + 127) / 255) as u8)
}

/// Columns and rows of the smallest box around all pixels that are not fully transparent.
fn visible(picture: &Picture) -> Option<(Range<u32>, Range<u32>)> {
    let mut columns: Option<Range<u32>> = None;
    let mut rows: Option<Range<u32>> = None;
    for y in 0..picture.height() {
        let shows = |pixel: &[u8]| pixel[3] > 0;
        let mut row = picture.row(y).chunks_exact(4);
        let Some(left) = row.position(shows) else {
            continue;
        };
        let right = row.rposition(shows).map_or(left, |after| left + 1 + after);
        let (left, end) = (left as u32, right as u32 + 1);
        columns = Some(columns.map_or(left..end, |seen| seen.start.min(left)..seen.end.max(end)));
        rows = Some(rows.map_or(y, |rows| rows.start)..y + 1);
    }
    columns.zip(rows)
}
