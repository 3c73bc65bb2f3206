//! Bytes from anywhere to a [`Picture`], within limits, and never half of one.
//!
//! The header is read first and refused before anything is allocated by it. Of animations the first frame is taken.
//! The orientation that cameras write (EXIF) is applied, so that a picture is upright; CMYK becomes RGB; 16-bit samples
//! are rounded to 8; colour profiles are ignored, as they are by Pillow.

use std::io::{Cursor, ErrorKind};
use std::panic::catch_unwind;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{ImageError, Picture, format};

/// What is decoded at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Length of the file. Default: 64 MiB.
    pub bytes_max: usize,
    /// Pixels in all. Default: 64 million (64 · 2²⁰).
    pub pixels_max: u64,
    /// Pixels of a side. Default: 16,384.
    pub side_max: u32,
    /// Memory a decoder may take for its output and, where it keeps count, its own tables. Default: 512 MiB.
    pub memory_bytes_max: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, pixels_max: 64 << 20, side_max: 16_384, memory_bytes_max: 512 << 20 }
    }
}

/// Decodes the picture in `bytes`. The format is told from the bytes.
///
/// # Errors
/// [`ImageError`], one variant for each cause.
pub fn decode_image(bytes: &[u8], limits: &ImageLimits) -> Result<Picture, ImageError> {
    if bytes.len() > limits.bytes_max {
        return Err(ImageError::TooManyBytes { bytes: bytes.len(), limit: limits.bytes_max });
    }
    let (format, name) = format::recognise(bytes)?;
    // These decoders make up what is missing, and say nothing.
    let cut_off = match format {
        ImageFormat::Jpeg => !jpeg_has_an_end(bytes),
        ImageFormat::WebP => !webp_is_as_long_as_it_says(bytes),
        _ => false,
    };
    if cut_off {
        return Err(ImageError::Truncated { format: name, bytes: bytes.len() });
    }
    // The decoder wants more than the header before it tells the size; what is too large is refused before that.
    if let (ImageFormat::Png, Some((width, height))) = (format, png_size(bytes)) {
        check_size(width, height, limits)?;
    }
    // Decoders are other people's code on hostile input: a panic in one must not take the process along.
    catch_unwind(|| decode_as(bytes, format, name, limits))
        .unwrap_or_else(|_| Err(ImageError::Damaged { format: name, reason: "the decoder gave up".into() }))
}

fn decode_as(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    limits: &ImageLimits,
) -> Result<Picture, ImageError> {
    let reason = |error| explain(error, name, bytes.len());
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(limits.memory_bytes_max);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    if decoder.total_bytes() > limits.memory_bytes_max {
        return Err(ImageError::TooMuchMemory { width, height, limit: limits.memory_bytes_max });
    }
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| match error {
        image::ImageError::Limits(_) => ImageError::TooMuchMemory { width, height, limit: limits.memory_bytes_max },
        other => reason(other),
    })?;
    decoded.apply_orientation(orientation);
    picture(decoded).ok_or_else(|| ImageError::Damaged { format: name, reason: "it has no pixels".into() })
}

fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<(), ImageError> {
    let (side_max, pixels_max) = (limits.side_max, limits.pixels_max);
    if width.max(height) > side_max || u64::from(width) * u64::from(height) > pixels_max {
        return Err(ImageError::TooLarge { width, height, side_max, pixels_max });
    }
    Ok(())
}

fn picture(decoded: DynamicImage) -> Option<Picture> {
    let (width, height) = (decoded.width(), decoded.height());
    if decoded.color().has_alpha() {
        Picture::from_rgba(width, height, decoded.into_rgba8().into_raw())
    } else {
        Picture::from_rgb(width, height, decoded.into_rgb8().into_raw())
    }
}

fn explain(error: image::ImageError, format: &'static str, bytes: usize) -> ImageError {
    if ended_early(&error) {
        return ImageError::Truncated { format, bytes };
    }
    match error {
        image::ImageError::Unsupported(what) => ImageError::Unsupported { format: format!("such {format} ({what})") },
        other => ImageError::Damaged { format, reason: other.to_string() },
    }
}

/// Whether running out of bytes is at the root of an error.
fn ended_early(error: &image::ImageError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = error.source();
    }
    // Some decoders have no kind for it, only words.
    let words = error.to_string().to_lowercase();
    ["unexpected end of file", "unexpected eof", "failed to fill whole buffer"].iter().any(|said| words.contains(said))
}

/// Width and height by a PNG's header, which is its first chunk.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    Some((side(16)?, side(20)?))
}

/// Whether a WebP has all the bytes that its RIFF header counts from the ninth on.
fn webp_is_as_long_as_it_says(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else {
        return false;
    };
    bytes.len() as u64 >= 8 + u64::from(u32::from_le_bytes([a, b, c, d]))
}

/// Whether a JPEG's markers lead to its end-of-image marker.
fn jpeg_has_an_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Entropy-coded data runs up to the next marker; in it FF is followed by 00, or by a restart marker.
        let Some(skipped) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)) else {
            return false;
        };
        at += skipped + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xD9) => return true,
            Some(0xFF) => {}
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 1,
            Some(_) => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else {
                    return false;
                };
                at += 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests;
