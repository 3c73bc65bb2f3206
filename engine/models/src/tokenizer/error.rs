//! What can be wrong with a tokenizer.

use std::path::PathBuf;

use crate::bundle::BundleError;

/// Why a tokenizer cannot be used, or cannot read a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] BundleError),
    /// The file is not a tokenizer.
    #[error("{} is not a tokenizer: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        why: String,
    },
    /// A token that the configuration speaks of is not in the vocabulary.
    #[error("{} has no token {id}, which is the {role} token by {said_in}", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
        /// The id.
        id: u32,
        /// What it is for.
        role: &'static str,
        /// The file that says so.
        said_in: &'static str,
    },
    /// Ids that the decoder's vocabulary does not have.
    #[error("{} has the token id {id}, and the decoder's vocabulary ends at {vocab_size}", path.display())]
    TooManyTokens {
        /// The file.
        path: PathBuf,
        /// The highest id.
        id: u32,
        /// The decoder's vocabulary.
        vocab_size: u32,
    },
    /// A text which the tokenizer refuses.
    #[error("the text cannot be tokenized: {why}")]
    Encode {
        /// The tokenizer's words.
        why: String,
    },
    /// Ids which the tokenizer refuses.
    #[error("the tokens cannot be written as text: {why}")]
    Decode {
        /// The tokenizer's words.
        why: String,
    },
}
