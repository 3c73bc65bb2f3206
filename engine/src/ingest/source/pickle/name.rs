//! The names that a pickle may call; any other is refused, by name.

use super::super::SourceError;

/// A name that may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// An empty array, whose state follows.
    Reconstruct,
    /// An array of given bytes, type and shape.
    FromBuffer,
    /// A type of numbers.
    Dtype,
    /// One number.
    Scalar,
    /// The class of arrays: never called, only handed over.
    NdArray,
    /// Bytes that were written as a text, by protocol 2.
    Encode,
}

impl Name {
    /// # Errors
    /// Any other name, before anything is done with it.
    pub(super) fn of(module: &str, name: &str) -> Result<Name, SourceError> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Ok(Name::Reconstruct),
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Ok(Name::FromBuffer),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Ok(Name::Scalar),
            ("numpy", "dtype") => Ok(Name::Dtype),
            ("numpy", "ndarray") => Ok(Name::NdArray),
            ("_codecs", "encode") => Ok(Name::Encode),
            _ => Err(SourceError::Refused {
                name: format!("{module}.{name}"),
                remedy: if module.starts_with("torch") {
                    "save the tensors as one NumPy array: torch.stack(embeddings).float().numpy()"
                } else {
                    "if you trust its author, save the embeddings with numpy.save, and ingest the .npy"
                },
            }),
        }
    }
}
