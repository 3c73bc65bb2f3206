//! The wire: `fromagerie/v1/*.proto` and the types generated from them.
//!
//! The protocol buffers are the documentation: read `collections.proto`, then `search.proto`, then
//! `dialogue.proto`. `docs/API.md` shows them in use.

/// `package fromagerie.v1`: messages, clients and servers.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("fromagerie.v1");
}

/// The compiled descriptors of every service, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fromagerie.bin"));
