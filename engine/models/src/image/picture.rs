//! A decoded picture: rows of 8-bit RGB, or RGBA where the file had transparency.

/// A decoded picture, upright, its top row first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    channels: usize,
    data: Vec<u8>,
}

impl Picture {
    /// A picture of `width * height` pixels in `data`, three bytes each (red, green, blue).
    ///
    /// `None` when the length does not fit or a side is zero.
    pub fn from_rgb(width: u32, height: u32, data: Vec<u8>) -> Option<Self> {
        Self::new(width, height, 3, data)
    }

    /// A picture of `width * height` pixels in `data`, four bytes each (red, green, blue, opacity).
    ///
    /// `None` when the length does not fit or a side is zero.
    pub fn from_rgba(width: u32, height: u32, data: Vec<u8>) -> Option<Self> {
        Self::new(width, height, 4, data)
    }

    /// A picture of one colour.
    ///
    /// `None` when a side is zero.
    pub fn filled(width: u32, height: u32, rgb: [u8; 3]) -> Option<Self> {
        Self::from_rgb(width, height, rgb.repeat(width as usize * height as usize))
    }

    fn new(width: u32, height: u32, channels: usize, data: Vec<u8>) -> Option<Self> {
        let fits = width > 0 && height > 0 && data.len() == width as usize * height as usize * channels;
        fits.then_some(Self { width, height, channels, data })
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether the file had an opacity, even if every pixel is opaque.
    pub fn has_alpha_channel(&self) -> bool {
        self.channels == 4
    }

    /// Whether some pixel is not fully opaque.
    pub fn is_transparent(&self) -> bool {
        self.channels == 4 && self.data.chunks_exact(4).any(|pixel| pixel[3] < 255)
    }

    /// Bytes of a pixel: 3, or 4 with an opacity.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All rows, one after another.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Row `y`, counted from the top.
    pub(crate) fn row(&self, y: u32) -> &[u8] {
        let bytes = self.width as usize * self.channels;
        &self.data[y as usize * bytes..][..bytes]
    }
}
