//! A small copy of a picture, for lists and pages.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;

use super::canvas::Canvas;
use super::resize::{Window, bicubic};
use super::{ImageError, Picture};

const QUALITY: u8 = 85;
const WHITE: [u8; 3] = [255; 3];

/// How a thumbnail is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThumbnailFormat {
    /// JPEG of quality 85: small for photographs.
    Jpeg,
    /// WebP without loss: small and sharp for drawings, several times larger than JPEG for photographs.
    Webp,
}

/// `picture` with its longer side at most `side_max` pixels, as a file; on white where it is transparent.
///
/// A smaller picture keeps its size.
///
/// # Errors
/// [`ImageError::TooLarge`] when `side_max` is beyond what the format can hold.
pub fn thumbnail(picture: &Picture, side_max: u32, format: ThumbnailFormat) -> Result<Vec<u8>, ImageError> {
    let (width, height) = fit(picture.width(), picture.height(), side_max);
    let too_large = |_| ImageError::TooLarge { width, height, side_max: u32::from(u16::MAX), pixels_max: u64::MAX };
    let window = Window { columns: 0..width, rows: 0..height };
    let rgb = bicubic(&Canvas::on(picture, WHITE), (width, height), &window);
    let (mut file, colour) = (Vec::new(), ExtendedColorType::Rgb8);
    let written = match format {
        ThumbnailFormat::Jpeg => JpegEncoder::new_with_quality(&mut file, QUALITY).encode(&rgb, width, height, colour),
        ThumbnailFormat::Webp => WebPEncoder::new_lossless(&mut file).encode(&rgb, width, height, colour),
    };
    written.map_err(too_large)?;
    Ok(file)
}

fn fit(width: u32, height: u32, side_max: u32) -> (u32, u32) {
    let (side_max, longer) = (side_max.clamp(1, u32::from(u16::MAX)), width.max(height));
    if longer <= side_max {
        return (width, height);
    }
    let scaled = |side: u32| (f64::from(side) * f64::from(side_max) / f64::from(longer)).round().max(1.0) as u32;
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageLimits, decode_image};

    #[test]
    fn proportions_are_kept_and_nothing_grows() {
        for (from, to) in [((100, 50), (20, 10)), ((50, 100), (10, 20)), ((7, 5), (7, 5)), ((4000, 1), (20, 1))] {
            assert_eq!(fit(from.0, from.1, 20), to);
        }
        assert_eq!(fit(3, 3, 0), (1, 1));
    }

    #[test]
    fn transparent_is_white_in_either_format() {
        let clear = Picture::from_rgba(40, 30, [9, 9, 9, 0].repeat(1200)).unwrap();
        for (format, magic) in [(ThumbnailFormat::Jpeg, &b"\xFF\xD8\xFF"[..]), (ThumbnailFormat::Webp, b"RIFF")] {
            let file = thumbnail(&clear, 16, format).unwrap();
            assert!(file.starts_with(magic), "{format:?}");
            let back = decode_image(&file, &ImageLimits::default()).unwrap();
            assert_eq!((back.width(), back.height()), (16, 12));
            assert!(back.data().iter().all(|byte| *byte == 255));
        }
    }
}
