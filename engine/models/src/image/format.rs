//! What bytes are, by what they begin with. File names and media types are never asked: they are often wrong.

use image::ImageFormat;

use super::ImageError;

/// Formats that are decoded, with their names for people.
const DECODED: [(ImageFormat, &str); 6] = [
    (ImageFormat::Jpeg, "JPEG"),
    (ImageFormat::Png, "PNG"),
    (ImageFormat::WebP, "WebP"),
    (ImageFormat::Gif, "GIF"),
    (ImageFormat::Bmp, "BMP"),
    (ImageFormat::Tiff, "TIFF"),
];

/// Images that are recognised and not decoded: (offset, bytes, name).
const RECOGNISED: [(usize, &[u8], &str); 15] = [
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftyphevc", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (0, b"\xFF\x0A", "JPEG XL"),
    (0, b"\0\0\0\x0CJXL ", "JPEG XL"),
    (0, b"\0\0\0\x0CjP  ", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\x01\0", "icon"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DDS"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"\x76\x2F\x31\x01", "OpenEXR"),
];

/// What is often sent by mistake: (bytes, name).
const MISTAKEN: [(&[u8], &str); 11] = [
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1F\x8B", "gzip-compressed data"),
    (b"\x28\xB5\x2F\xFD", "zstd-compressed data"),
    (b"\x7FELF", "an executable"),
    (b"ID3", "an MP3 recording"),
    (b"OggS", "an Ogg recording"),
    (b"\x1A\x45\xDF\xA3", "a Matroska or WebM video"),
    (b"SQLite format 3", "an SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer (the file itself was not fetched)"),
    (b"data:image/", "a data URL (send the decoded bytes)"),
];

/// The format of `bytes`, of those that are decoded.
///
/// # Errors
/// [`ImageError::Unsupported`] for other images, [`ImageError::NotAnImage`] for anything else.
pub(super) fn recognise(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    if let Ok(format) = image::guess_format(bytes)
        && let Some(found) = DECODED.iter().find(|(decoded, _)| *decoded == format)
    {
        return Ok(*found);
    }
    let unsupported = |format: &str| Err(ImageError::Unsupported { format: format.into() });
    let begins_at = |at: usize, with: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(with));
    if let Some((_, _, name)) = RECOGNISED.iter().find(|(at, with, _)| begins_at(*at, with)) {
        return unsupported(name);
    }
    match looks_like(bytes) {
        SVG => unsupported(SVG),
        looks_like => Err(ImageError::NotAnImage { looks_like }),
    }
}

const SVG: &str = "SVG";

fn looks_like(bytes: &[u8]) -> &'static str {
    if let Some((_, name)) = MISTAKEN.iter().find(|(with, _)| bytes.starts_with(with)) {
        return name;
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return "an MP4 or QuickTime video";
    }
    let head = &bytes[..bytes.len().min(1024)];
    // The cut may go through a character; what comes before it is enough.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return "binary data of no known format",
    };
    let text = text.trim_start_matches('\u{FEFF}').trim_start().to_ascii_lowercase();
    match text.as_bytes() {
        [] if bytes.is_empty() => "nothing: there are no bytes",
        [] => "blank text",
        _ if text.contains("<svg") => SVG,
        _ if text.starts_with("<!doctype html") || text.starts_with("<html") => {
            "an HTML page (the address may need a login, or be of a page about the picture)"
        }
        _ if text.starts_with("<?xml") => "an XML document",
        [b'{' | b'[', ..] => "a JSON document",
        _ if text.contains('\0') => "binary data of no known format",
        _ => "text",
    }
}
