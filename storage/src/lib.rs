//! Bytes: the catalog, the journal and sealed segments of a Fromagerie database.
//!
//! The store is log-structured. A [`Batch`] goes to its collection's journal and is fsynced before it is
//! acknowledged; it lives in a memory segment that is scanned exactly; the memory segment is sealed into an
//! immutable file that is mapped, never loaded; one manifest file a generation says which files make up the
//! collection. Readers take a [`Snapshot`] and never wait for writers.
//!
//! Where to read next, by question:
//!
//! | question | room |
//! |---|---|
//! | what may a caller ask? | [`Store`], [`Collection`], [`Snapshot`], [`SegmentView`] |
//! | how does a write become durable? | `collection/commit.rs`, `journal/` |
//! | what happens when a directory is opened after a crash? | `store/open.rs`, `collection/open.rs`, `journal/scan.rs` |
//! | how is a segment laid out and checked? | `segment/layout.rs`, `segment/sealed.rs`, `docs/FORMAT.md` |
//! | how does a new generation replace the old one? | `collection/seal.rs`, `manifest.rs` |
//! | what touches the disk? | [`backend`], `mmap/`; and `catalog/`, where `redb` does its own writing |
//!
//! Storage knows bytes: it knows nothing of distances, graphs or models. A graph is an opaque part of a segment,
//! made by the caller's [`SegmentBuilder`].

pub mod backend;
mod batch;
mod catalog;
mod codec;
mod collection;
mod copy;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod key_order;
mod lock;
mod manifest;
mod mmap;
mod progress;
mod receipts;
mod repair;
mod segment;
mod snapshot;
mod store;
mod verify;
mod version;

pub use batch::{Batch, CollectionSpec, Document, KEY_BYTES_MAX, Op, Receipt, Record, VectorType};
pub use collection::{Collection, CollectionStats, CompactReport, PartBytes};
pub use copy::CopyReport;
pub use error::{Damage, StorageError};
pub use key_order::KeyOrder;
pub use mmap::Mapping;
pub use progress::{Progress, Watch};
pub use repair::{CatalogRepair, LostBatches, LostRows, RepairReport};
pub use segment::{InOrder, PayloadLister, SegmentBuilder, SegmentView, Source, Task, Vectors};
pub use snapshot::{Location, Snapshot};
pub use store::{BuilderOf, CollectionInfo, DamagedCollection, OpenNote, Store, StoreOptions};
pub use verify::VerifyReport;
pub use version::Version;

#[cfg(target_endian = "big")]
compile_error!("files are little-endian and mapped as they are: a big-endian host cannot read them");
