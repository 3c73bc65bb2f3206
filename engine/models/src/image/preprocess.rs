//! `preprocessor_config.json`: from a [`Picture`] to the tensor of one model.
//!
//! The steps and names are those of Hugging Face's CLIP processor: the shorter side is resized, the centre is cropped,
//! bytes are scaled and normalised. Ours is what comes before: `transparency` says what lies behind transparent pixels
//! and whether the margins around what is visible are cut off. Without it the opacity is dropped, as Pillow does.

use std::ops::Range;

use serde::Deserialize;

use super::Picture;
use super::canvas::{Canvas, Transparency};
use super::resize::{Rows, Window, bicubic};
use crate::bundle::fields::{ConfigError, exactly, in_range, wrong};

/// Pillow's number for bicubic resizing.
const BICUBIC: u32 = 3;

/// Makes a model's [`Pixels`].
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessor {
    shortest_edge: u32,
    crop_width: u32,
    crop_height: u32,
    transparency: Option<Transparency>,
    /// The value of each byte, in each channel.
    values: Box<[[f32; 256]; 3]>,
}

/// One picture as the vision graph reads it; the default is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pixels {
    width: u32,
    height: u32,
    data: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default = "yes")]
    do_convert_rgb: bool,
    do_resize: bool,
    size: Size,
    resample: u32,
    do_center_crop: bool,
    crop_size: CropSize,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f32; 3],
    image_std: [f32; 3],
    transparency: Option<Transparency>,
    #[serde(default, rename = "image_processor_type")]
    _image_processor_type: Option<String>,
    #[serde(default, rename = "feature_extractor_type")]
    _feature_extractor_type: Option<String>,
    #[serde(default, rename = "processor_class")]
    _processor_class: Option<String>,
    #[serde(default, rename = "_valid_processor_keys")]
    _valid_processor_keys: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    shortest_edge: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CropSize {
    height: u32,
    width: u32,
}

fn yes() -> bool {
    true
}

impl Preprocessor {
    /// Parses and checks the JSON of a `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let config: Config = serde_json::from_slice(json)?;
        for (field, on) in [
            ("do_convert_rgb", config.do_convert_rgb),
            ("do_resize", config.do_resize),
            ("do_center_crop", config.do_center_crop),
        ] {
            // Without these the tensor's size would depend on the picture.
            exactly(field, on, true)?;
        }
        exactly("resample", config.resample, BICUBIC)?;
        let shortest_edge = in_range("size.shortest_edge", config.size.shortest_edge, 1..=4_096)?;
        if let Some(rule) = &config.transparency {
            in_range("transparency.margin", rule.margin, 0.0..=1.0)?;
        }
        Ok(Self {
            shortest_edge,
            crop_width: in_range("crop_size.width", config.crop_size.width, 1..=shortest_edge)?,
            crop_height: in_range("crop_size.height", config.crop_size.height, 1..=shortest_edge)?,
            values: values(&config)?,
            transparency: config.transparency,
        })
    }

    /// Makes squares of `side` pixels, values 0 to 1, transparency on white: for models that read plain bytes.
    pub(crate) fn bytes(side: u32) -> Self {
        let mut values = Box::new([[0.0; 256]; 3]);
        values.iter_mut().for_each(|channel| *channel = std::array::from_fn(|byte| byte as f32 / 255.0));
        let transparency = Some(Transparency { background: [255; 3], trim: false, margin: 0.0 });
        Self { shortest_edge: side, crop_width: side, crop_height: side, transparency, values }
    }

    /// Width of the [`Pixels`] made.
    pub fn width(&self) -> u32 {
        self.crop_width
    }

    /// Height of the [`Pixels`] made.
    pub fn height(&self) -> u32 {
        self.crop_height
    }

    /// The tensor of one picture.
    pub fn pixels(&self, picture: &Picture) -> Pixels {
        let cropped = self.cropped(picture);
        let plane = self.crop_width as usize * self.crop_height as usize;
        let mut data = vec![0.0; 3 * plane];
        let (red, others) = data.split_at_mut(plane);
        let (green, blue) = others.split_at_mut(plane);
        let [reds, greens, blues] = &*self.values;
        for (at, rgb) in cropped.chunks_exact(3).enumerate() {
            red[at] = reds[usize::from(rgb[0])];
            green[at] = greens[usize::from(rgb[1])];
            blue[at] = blues[usize::from(rgb[2])];
        }
        Pixels { width: self.crop_width, height: self.crop_height, data }
    }

    /// The bytes of the tensor before scaling: RGB, row by row.
    fn cropped(&self, picture: &Picture) -> Vec<u8> {
        let canvas = match &self.transparency {
            Some(rule) if picture.is_transparent() => Canvas::transparent(picture, rule),
            _ => Canvas::plain(picture),
        };
        let (width, height) = canvas.size();
        let target = shortest_side_to(width, height, self.shortest_edge);
        let window = Window { columns: centre(target.0, self.crop_width), rows: centre(target.1, self.crop_height) };
        bicubic(&canvas, target, &window)
    }
}

/// The value of every byte: scaled as f64 and normalised as f32, as Hugging Face's processor computes it.
fn values(config: &Config) -> Result<Box<[[f32; 256]; 3]>, ConfigError> {
    let factor = if config.do_rescale { config.rescale_factor } else { 1.0 };
    in_range("rescale_factor", factor, f64::MIN_POSITIVE..=1e6)?;
    let mut values = Box::new([[0.0; 256]; 3]);
    for ((channel, mean), std) in values.iter_mut().zip(config.image_mean).zip(config.image_std) {
        in_range("image_mean", mean, -1e6..=1e6)?;
        in_range("image_std", std, 1e-6..=1e6)?;
        for (byte, value) in channel.iter_mut().enumerate() {
            let scaled = (byte as f64 * factor) as f32;
            *value = if config.do_normalize { (scaled - mean) / std } else { scaled };
        }
        if channel.iter().any(|value| !value.is_finite()) {
            return Err(wrong("rescale_factor", factor, "a factor that leaves all pixel values finite"));
        }
    }
    Ok(values)
}

/// The size when the shorter side becomes `side` and the longer one keeps the proportion, rounded down.
fn shortest_side_to(width: u32, height: u32, side: u32) -> (u32, u32) {
    let (short, long) = (width.min(height), width.max(height));
    let longer = (f64::from(side) * f64::from(long) / f64::from(short)) as u32;
    if width <= height { (side, longer) } else { (longer, side) }
}

fn centre(of: u32, wanted: u32) -> Range<u32> {
    let start = (of - wanted) / 2;
    start..start + wanted
}

impl Pixels {
    /// Values of red, then green, then blue: `[3, height, width]`.
    ///
    /// `None` when the length does not fit or a side is zero.
    pub fn new(width: u32, height: u32, data: Vec<f32>) -> Option<Self> {
        let fits = width > 0 && height > 0 && data.len() == 3 * width as usize * height as usize;
        fits.then_some(Self { width, height, data })
    }

    /// Values in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `[3, height, width]`.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

#[cfg(test)]
pub(super) mod tests;
