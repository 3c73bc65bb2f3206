//! Preprocessing equals the same steps written with Pillow; a configuration is refused for each wrong field.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;

/// The picture that `noise` in `make_fixtures.py` makes.
pub(crate) fn noise(width: u32, height: u32, channels: u32) -> Vec<u8> {
    let mut state = width * 1000 + height;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take((width * height * channels) as usize).collect()
}

pub(crate) fn config(size: u32, crop: u32, transparency: Value) -> Value {
    let mut config = json!({
        "do_convert_rgb": true, "do_resize": true, "size": {"shortest_edge": size}, "resample": 3,
        "do_center_crop": true, "crop_size": {"height": crop, "width": crop}, "do_rescale": true,
        "rescale_factor": 1.0 / 255.0, "do_normalize": true, "image_mean": [0.5, 0.25, 0.0], "image_std": [0.5, 1.0, 2.0],
        "image_processor_type": "CLIPImageProcessor",
    });
    if !transparency.is_null() {
        config["transparency"] = transparency;
    }
    config
}

fn preprocessor(config: &Value) -> Result<Preprocessor, ConfigError> {
    Preprocessor::parse(config.to_string().as_bytes())
}

#[derive(Deserialize)]
struct Case {
    from: (u32, u32),
    channels: u32,
    opaque_box: Option<[u32; 4]>,
    size: u32,
    crop: u32,
    transparency: Value,
    sha256: String,
}

fn case_picture(case: &Case) -> Picture {
    let (width, height) = case.from;
    let mut data = noise(width, height, case.channels);
    if let Some([left, top, right, bottom]) = case.opaque_box {
        for (at, pixel) in data.chunks_exact_mut(4).enumerate() {
            let (x, y) = (at as u32 % width, at as u32 / width);
            if !(left..right).contains(&x) || !(top..bottom).contains(&y) {
                pixel[3] = 0;
            }
        }
    }
    if case.channels == 4 { Picture::from_rgba(width, height, data) } else { Picture::from_rgb(width, height, data) }
        .unwrap()
}

#[test]
fn every_step_equals_pillows() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../tests/fixtures/golden_preprocess.json")).unwrap();
    for case in &cases {
        let preprocessor = preprocessor(&config(case.size, case.crop, case.transparency.clone())).unwrap();
        let cropped = preprocessor.cropped(&case_picture(case));
        let name = format!("{:?} {:?} {}", case.from, case.opaque_box, case.transparency);
        assert_eq!(hex::encode(Sha256::digest(&cropped)), case.sha256, "{name}");
    }
    assert_eq!(cases.len(), 9);
}

#[test]
fn values_are_scaled_and_normalised_in_planes() {
    let preprocessor = preprocessor(&config(4, 4, Value::Null)).unwrap();
    let pixels = preprocessor.pixels(&Picture::filled(9, 6, [255, 51, 0]).unwrap());
    assert_eq!((pixels.width(), pixels.height(), pixels.data().len()), (4, 4, 48));
    let planes: Vec<f32> = pixels.data().chunks_exact(16).map(|plane| plane[7]).collect();
    assert_eq!(planes, [1.0, 0.2 - 0.25, 0.0]);
}

#[test]
fn a_line_of_pixels_costs_no_square() {
    // Trimmed to a square this is 17,695 pixels a side; neither that nor the resized line may be laid out.
    let mut data = vec![0; 16_384 * 2 * 4];
    data[..16_384 * 4].fill(200);
    let line = Picture::from_rgba(16_384, 2, data).unwrap();
    let rule = json!({"background": [255, 255, 255], "trim": true, "margin": 0.04});
    assert_eq!(preprocessor(&config(224, 224, rule)).unwrap().pixels(&line).data().len(), 3 * 224 * 224);
    assert_eq!(preprocessor(&config(224, 224, Value::Null)).unwrap().pixels(&line).data().len(), 3 * 224 * 224);
}

#[test]
fn every_field_is_checked() {
    for (pointer, value, says) in [
        ("/do_resize", json!(false), "`do_resize` is false; expected true"),
        ("/do_center_crop", json!(false), "`do_center_crop` is false"),
        ("/do_convert_rgb", json!(false), "`do_convert_rgb` is false"),
        ("/resample", json!(2), "`resample` is 2; expected 3"),
        ("/size", json!({"height": 5, "width": 5}), "unknown field `height`"),
        ("/size/shortest_edge", json!(0), "`size.shortest_edge` is 0; expected 1 to 4096"),
        ("/size/shortest_edge", json!(1_000_000), "`size.shortest_edge` is 1000000"),
        ("/crop_size/width", json!(33), "`crop_size.width` is 33; expected 1 to 32"),
        ("/crop_size/height", json!(0), "`crop_size.height` is 0"),
        ("/rescale_factor", json!(0), "`rescale_factor` is 0"),
        ("/image_std", json!([1, 0, 1]), "`image_std` is 0"),
        ("/image_mean", json!([1e30, 0, 1]), "`image_mean`"),
        ("/image_mean", json!([1, 0]), "invalid length 2"),
        ("/transparency", json!({"background": [0, 0, 0], "trim": true, "margin": 3}), "`transparency.margin` is 3"),
        ("/transparency", json!({"background": [0, 0, 256], "trim": true}), "256"),
        ("/transparency", json!({"background": [0, 0, 0], "trim": true, "fuzz": 3}), "unknown field `fuzz`"),
    ] {
        let mut broken = config(32, 32, json!({}));
        broken["transparency"] = json!({"background": [1, 2, 3], "trim": false});
        assert!(preprocessor(&broken).is_ok());
        *broken.pointer_mut(pointer).unwrap() = value;
        let error = preprocessor(&broken).unwrap_err().to_string();
        assert!(error.contains(says), "{pointer}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_configurations_do_not_panic(json in ".{0,200}", number in proptest::num::f64::ANY, size in 0u32..9000) {
        let _ = Preprocessor::parse(json.as_bytes());
        let mut odd = config(size, size, Value::Null);
        odd["rescale_factor"] = json!(number);
        odd["image_std"] = json!([number, number, 1.0]);
        let _ = preprocessor(&odd);
    }
}
