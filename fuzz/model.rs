//! The entry points for what a model is made of and fed with: a picture, a bundle's configurations, its tokenizer. Used by
//! libFuzzer and by the models' own test.

use fromagerie_models::bundle::fingerprint;
use fromagerie_models::{
    GenerationConfig, ImageLimits, Manifest, Picture, Preprocessor, ThumbnailFormat, TokenStream, Tokenizer,
    decode_image, thumbnail,
};

const MANIFEST: &[u8] = include_bytes!("../engine/models/tests/fixtures/tiny_bundle/fromagerie.json");
const GENERATION: &[u8] = include_bytes!("../engine/models/tests/fixtures/tiny_bundle/generation_config.json");

const VOCAB_SIZE: u32 = 1000;

/// Decodes a picture, prepares it for a model in each way, and makes thumbnails, which are pictures again.
pub fn picture(bytes: &[u8]) -> bool {
    let limits =
        ImageLimits { pixels_max: 1 << 18, side_max: 1 << 12, memory_bytes_max: 16 << 20, ..ImageLimits::default() };
    let Ok(picture) = decode_image(bytes, &limits) else { return false };
    let (width, height) = (picture.width(), picture.height());
    assert!(width.max(height) <= limits.side_max && u64::from(width) * u64::from(height) <= limits.pixels_max);
    assert_eq!(picture.data().len(), width as usize * height as usize * picture.channels());
    for config in [PLAIN, TRIMMED] {
        let preprocessor = Preprocessor::parse(config.as_bytes()).expect("a good configuration");
        let pixels = preprocessor.pixels(&picture);
        assert_eq!(pixels.data().len(), 3 * 16 * 16);
        assert!(pixels.data().iter().all(|value| value.is_finite()));
    }
    for format in [ThumbnailFormat::Jpeg, ThumbnailFormat::Webp] {
        let small = thumbnail(&picture, 32, format).expect("a thumbnail of any picture");
        let small: Picture = decode_image(&small, &limits).expect("a thumbnail is a picture");
        assert!(small.width().max(small.height()) <= 32);
    }
    true
}

const PLAIN: &str = r#"{"do_convert_rgb": true, "do_resize": true, "size": {"shortest_edge": 16}, "resample": 3, "do_center_crop": true,
    "crop_size": {"height": 16, "width": 16}, "do_rescale": true, "rescale_factor": 0.0039, "do_normalize": true,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}"#;
const TRIMMED: &str = r#"{"do_convert_rgb": true, "do_resize": true, "size": {"shortest_edge": 16}, "resample": 3, "do_center_crop": true,
    "crop_size": {"height": 16, "width": 16}, "do_rescale": true, "rescale_factor": 0.0039, "do_normalize": true,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25],
    "transparency": {"background": [255, 255, 255], "trim": true, "margin": 0.04}}"#;

/// A bundle's three configurations, each of which the bytes may be.
pub fn bundle(bytes: &[u8]) -> bool {
    let manifest = Manifest::parse(bytes);
    if let Ok(manifest) = &manifest {
        let variant = manifest.variant(None).expect("a default variant");
        assert!(manifest.files.contains_key(&variant.decoder), "a variant's graph is listed");
        let _ = fingerprint::of(manifest);
    }
    let generation = GenerationConfig::parse(bytes, VOCAB_SIZE);
    assert!(
        generation.as_ref().is_ok_and(|config| config.eos_token_id.iter().all(|id| *id < VOCAB_SIZE))
            || generation.is_err()
    );
    let preprocessor = Preprocessor::parse(bytes);
    if let Ok(preprocessor) = &preprocessor
        && preprocessor.width().max(preprocessor.height()) <= 64
        && let Some(picture) = Picture::filled(9, 5, [1, 2, 3])
    {
        let pixels = preprocessor.pixels(&picture);
        assert_eq!(pixels.data().len(), 3 * (pixels.width() * pixels.height()) as usize);
    }
    manifest.is_ok() || generation.is_ok() || preprocessor.is_ok()
}

/// A tokenizer, with some text there and back.
pub fn tokenizer(bytes: &[u8]) -> bool {
    let manifest = Manifest::parse(MANIFEST).expect("the fixture's manifest");
    let generation =
        GenerationConfig::parse(GENERATION, manifest.language_model.vocab_size).expect("its configuration");
    let opened = super::scratch::with(bytes, |path| Tokenizer::open(path, &manifest, &generation));
    let Ok(tokenizer) = opened else { return false };
    for special in [true, false] {
        let Ok(ids) = tokenizer.encode("a cat, ça va? [RET] \u{1F408}\n", special) else { continue };
        let _ = tokenizer.decode(&ids, special);
    }
    let mut stream = TokenStream::new(|ids| Ok(tokenizer.decode(ids, false)?));
    for id in 0..manifest.language_model.vocab_size + 2 {
        let _ = stream.push(id);
    }
    true
}
