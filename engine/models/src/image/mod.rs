//! From a file's bytes to the tensor which a vision graph reads.
//!
//! [`decode_image`] turns bytes from anywhere into a [`Picture`], within limits and with a reason when it cannot
//! ([`decode`]). A [`Preprocessor`] makes the model's [`Pixels`] of it ([`preprocess`]), resizing exactly as Pillow
//! does (`resize`), for that is what models were trained on. [`thumbnail`] makes a small copy for people.

mod canvas;
pub mod decode;
mod format;
pub mod picture;
pub mod preprocess;
mod resize;
mod thumbnail;

pub use decode::{ImageLimits, decode_image};
pub use picture::Picture;
pub use preprocess::{Pixels, Preprocessor};
pub use thumbnail::{ThumbnailFormat, thumbnail};

/// Why bytes are not a picture that can be used. All of these are the sender's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Not an image at all.
    #[error("not an image: the bytes look like {looks_like}")]
    NotAnImage {
        /// What they look like.
        looks_like: &'static str,
    },
    /// An image in a format that is not decoded here.
    #[error("{format} images are not supported; send JPEG, PNG, WebP, GIF, BMP or TIFF")]
    Unsupported {
        /// The format, or the feature of a format.
        format: String,
    },
    /// The file ends before the picture does.
    #[error("the {format} file ends before the picture does: it was cut off after {bytes} bytes")]
    Truncated {
        /// The format.
        format: &'static str,
        /// Bytes there are.
        bytes: usize,
    },
    /// The file contradicts its format.
    #[error("the {format} file is damaged: {reason}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// More pixels than are decoded.
    #[error(
        "the picture has {width}x{height} pixels; decoded are sides of at most {side_max} and at most {pixels_max} pixels in all"
    )]
    TooLarge {
        /// Width by the header.
        width: u32,
        /// Height by the header.
        height: u32,
        /// [`ImageLimits::side_max`].
        side_max: u32,
        /// [`ImageLimits::pixels_max`].
        pixels_max: u64,
    },
    /// More bytes than are read.
    #[error("the file has {bytes} bytes, and images of at most {limit} are read")]
    TooManyBytes {
        /// Bytes given.
        bytes: usize,
        /// [`ImageLimits::bytes_max`].
        limit: usize,
    },
    /// A picture that needs more memory to decode than allowed.
    #[error("decoding the picture of {width}x{height} pixels needs more than {limit} bytes of memory")]
    TooMuchMemory {
        /// Width by the header.
        width: u32,
        /// Height by the header.
        height: u32,
        /// [`ImageLimits::memory_bytes_max`].
        limit: u64,
    },
}
