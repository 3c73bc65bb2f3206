//! Every kind of file is read as Pillow reads it; what is not a whole picture within the limits has its own error.

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fact {
    file: String,
    size: (u32, u32),
    mean: [f64; 3],
    alpha: bool,
}

fn file(name: &str) -> Vec<u8> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/pictures"].iter().collect();
    std::fs::read(folder.join(name)).unwrap()
}

fn facts() -> Vec<Fact> {
    serde_json::from_slice(&file("facts.json")).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Picture, ImageError> {
    decode_image(bytes, &ImageLimits::default())
}

fn mean(picture: &Picture) -> [f64; 3] {
    let pixels = picture.data().chunks_exact(picture.channels());
    let count = pixels.len() as f64;
    std::array::from_fn(|c| pixels.clone().map(|pixel| f64::from(pixel[c])).sum::<f64>() / count)
}

#[test]
fn every_kind_of_file_is_read() {
    for Fact { file: name, size, mean: expected, alpha } in facts() {
        let picture = decode(&file(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((picture.width(), picture.height()), size, "{name}");
        assert_eq!(picture.is_transparent(), alpha, "{name}");
        let found = mean(&picture);
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1.0, "{name}: mean {found:?}, Pillow says {expected:?}");
    }
}

#[test]
fn a_camera_s_orientation_is_applied() {
    let upright = decode(&file("rgb.jpg")).unwrap();
    let turned = decode(&file("rotated.jpg")).unwrap();
    // Orientation 6: the first row of the file is the right-hand column of the picture.
    for (x, y) in [(0, 0), (19, 0), (7, 11)] {
        let from = &upright.row(y)[x as usize * 3..][..3];
        let to = &turned.row(x)[(11 - y) as usize * 3..][..3];
        assert_eq!(from, to);
    }
}

#[test]
fn no_part_of_a_file_passes_for_a_picture() {
    for Fact { file: name, .. } in facts() {
        let bytes = file(&name);
        let whole = decode(&bytes).unwrap();
        for len in 0..bytes.len() {
            match decode(&bytes[..len]) {
                // The last bytes of some formats say nothing about pixels (a PNG's IEND, a GIF's second frame).
                Ok(picture) => assert!(picture == whole, "{name} cut to {len} bytes is another picture"),
                Err(ImageError::Truncated { .. } | ImageError::Damaged { .. } | ImageError::NotAnImage { .. }) => {}
                Err(other) => panic!("{name} cut to {len} bytes: {other}"),
            }
        }
    }
    for name in ["rgb.png", "rgb.jpg", "progressive.jpg", "rgb.bmp", "animated.gif", "lossy.webp"] {
        let bytes = file(name);
        let half = decode(&bytes[..bytes.len() / 3]).unwrap_err();
        assert!(matches!(half, ImageError::Truncated { .. }), "{name}: {half}");
    }
    let jpeg = file("rgb.jpg");
    assert!(matches!(decode(&jpeg[..jpeg.len() - 2]), Err(ImageError::Truncated { format: "JPEG", .. })));
}

/// A PNG that is nothing but a header for a picture of this size.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut png = file("rgb.png");
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = 0xFFFF_FFFFu32;
    for byte in &png[12..29] {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 });
    }
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

#[test]
fn sizes_are_refused_by_the_header() {
    assert!(decode(&png_header(20, 12)).is_ok());
    for (width, height) in [(60_000, 60_000), (16_385, 1), (1, 100_000), (9_000, 9_000)] {
        let error = decode(&png_header(width, height)).unwrap_err();
        assert!(
            matches!(error, ImageError::TooLarge { width: w, height: h, .. } if (w, h) == (width, height)),
            "{error}"
        );
    }
    let limits = ImageLimits { bytes_max: 80, ..ImageLimits::default() };
    assert_eq!(decode_image(&file("rgb.png"), &limits), Err(ImageError::TooManyBytes { bytes: 89, limit: 80 }));
    let limits = ImageLimits { memory_bytes_max: 700, ..ImageLimits::default() };
    for name in ["rgb.png", "rgb.jpg", "rgb.bmp", "rgb.tif", "lossy.webp", "animated.gif"] {
        let error = decode_image(&file(name), &limits).unwrap_err();
        assert!(matches!(error, ImageError::TooMuchMemory { .. }), "{name}: {error}");
    }
}

#[test]
fn what_is_no_picture_is_called_by_its_name() {
    for (bytes, says) in [
        (&b""[..], "nothing"),
        (b"  \n ", "blank text"),
        (b"hello", "like text"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"{\"error\": \"not found\"}", "a JSON document"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"\0\0\0\x20ftypisom", "a video"),
        (b"\x01\x02\xFF\xFE\x80", "binary data"),
    ] {
        let error = decode(bytes).unwrap_err();
        assert!(matches!(error, ImageError::NotAnImage { .. }), "{error}");
        assert!(
            error.to_string().contains(says) || says == "a video" && error.to_string().contains("video"),
            "{error}"
        );
    }
    for (bytes, name) in [
        (&b"\0\0\0\x20ftypavif"[..], "AVIF"),
        (b"\0\0\0\x20ftypheic", "HEIC"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "SVG"),
        (b"8BPS\0\x01", "Photoshop"),
    ] {
        let error = decode(bytes).unwrap_err();
        assert_eq!(error, ImageError::Unsupported { format: name.into() });
        assert!(error.to_string().contains("send JPEG"));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_changed_file_is_a_picture_of_its_size_or_an_error(
        which in 0usize..18, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let facts = facts();
        let mut bytes = file(&facts[which].file);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // A small limit: a changed header may ask for much.
        let limits = ImageLimits { pixels_max: 1 << 16, memory_bytes_max: 1 << 20, ..ImageLimits::default() };
        if let Ok(picture) = decode_image(&bytes, &limits) {
            prop_assert_eq!(picture.data().len(), picture.width() as usize * picture.height() as usize * picture.channels());
        }
    }
}
