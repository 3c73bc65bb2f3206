//! Meaning: an embedded image-retrieval database that understands dialogue.
