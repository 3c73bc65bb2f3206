//! Goal: what a vision graph reads equals what Hugging Face's CLIP processor makes of the same file.
//!
//! Method: 200 pictures of odd sizes, modes, files and camera orientations lie in `fixtures/clip_processor.bin` with the
//! processor's answers (`make_clip_processor.py`): a digest of all its values, and 243 of them, the corners included.
//! JPEG and lossy WebP are decoded by other code than Pillow's and may differ a little. The rest is equal, every value.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::excessive_precision, reason = "means and deviations stand as CLIP's files write them")]

use fromagerie_models::{ImageLimits, Preprocessor, decode_image};
use sha2::{Digest, Sha256};

const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];
const SIDE: usize = 224;
const GRID: usize = 9;

/// A file, and what the processor made of it.
struct Case {
    name: String,
    file: Vec<u8>,
    digest: Vec<u8>,
    /// `[GRID, GRID, 3]`, before scaling.
    samples: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let mut rest: &[u8] = include_bytes!("fixtures/clip_processor.bin");
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken.to_vec()
    };
    let length = |bytes: Vec<u8>| u32::from_le_bytes(bytes.try_into().unwrap()) as usize;
    let count = length(take(4));
    let one = |_| {
        let name = usize::from(take(1)[0]);
        let name = String::from_utf8(take(name)).unwrap();
        let file = length(take(4));
        Case { name, file: take(file), digest: take(32), samples: take(GRID * GRID * 3) }
    };
    (0..count).map(one).collect()
}

fn clip() -> Preprocessor {
    let config = serde_json::json!({
        "do_resize": true, "size": {"shortest_edge": SIDE}, "resample": 3, "do_center_crop": true,
        "crop_size": {"height": SIDE, "width": SIDE}, "do_rescale": true, "rescale_factor": 1.0 / 255.0,
        "do_normalize": true, "image_mean": MEAN, "image_std": STD, "image_processor_type": "CLIPImageProcessor",
        // As transformers 5 does; without the rule opacity is dropped, as transformers 4 did.
        "transparency": {"background": [255, 255, 255], "trim": false},
    });
    Preprocessor::parse(config.to_string().as_bytes()).unwrap()
}

/// How far our values are from the processor's.
struct Off {
    /// Whether every one of the picture's values is the processor's.
    equal: bool,
    /// Largest and mean difference of the samples, as the graph reads them.
    max: f32,
    mean: f32,
}

fn off(case: &Case, clip: &Preprocessor) -> Off {
    let picture = decode_image(&case.file, &ImageLimits::default()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let pixels = clip.pixels(&picture);
    let value = |c: usize, byte: u8| (f32::from(byte) / 255.0 - MEAN[c]) / STD[c];
    let found = |c: usize, y: usize, x: usize| pixels.data()[(c * SIDE + y) * SIDE + x];
    let level = |c: usize, v: f32| ((v * STD[c] + MEAN[c]) * 255.0).round() as u8;
    let bytes: Vec<u8> = (0..SIDE * SIDE * 3).map(|i| level(i % 3, found(i % 3, i / 3 / SIDE, i / 3 % SIDE))).collect();
    let at = |n: usize| (n as f64 * (SIDE - 1) as f64 / (GRID - 1) as f64).round_ties_even() as usize;
    let differences: Vec<f32> = case
        .samples
        .iter()
        .enumerate()
        .map(|(i, byte)| (found(i % 3, at(i / 3 / GRID), at(i / 3 % GRID)) - value(i % 3, *byte)).abs())
        .collect();
    Off {
        equal: Sha256::digest(&bytes).as_slice() == case.digest,
        max: differences.iter().copied().fold(0.0, f32::max),
        mean: differences.iter().sum::<f32>() / differences.len() as f32,
    }
}

/// A file whose pixels come from other code than Pillow's.
fn is_lossy(name: &str) -> bool {
    ["jpeg", "jpg", "lossy"].iter().any(|kind| name.contains(kind))
}

/// Most that a value of a lossy file, and the mean of a picture's, may differ: five levels of 255, and half a level.
const LOSSY: (f32, f32) = (0.075, 0.008);

#[test]
fn pixels_equal_hugging_face_s_clip_processor() {
    let (cases, clip) = (cases(), clip());
    let (lossy, lossless): (Vec<_>, Vec<_>) = cases.iter().partition(|case| is_lossy(&case.name));
    assert_eq!((lossless.len(), lossy.len()), (120, 80));
    let unequal: Vec<_> = lossless.iter().filter(|case| !off(case, &clip).equal).map(|case| &case.name).collect();
    assert!(unequal.is_empty(), "not every value is the processor's: {unequal:?}");
    let found: Vec<Off> = lossy.iter().map(|case| off(case, &clip)).collect();
    for (case, off) in lossy.iter().zip(&found) {
        assert!(off.max <= LOSSY.0 && off.mean <= LOSSY.1, "{}: at most {}, mean {}", case.name, off.max, off.mean);
    }
    let max = found.iter().map(|off| off.max).fold(0.0, f32::max);
    let mean = found.iter().map(|off| off.mean).sum::<f32>() / found.len() as f32;
    let equal = found.iter().filter(|off| off.equal).count();
    println!(
        "{} lossless files: equal. {} lossy: {equal} equal, at most {max:.4} off, mean {mean:.4}",
        120,
        found.len()
    );
}
