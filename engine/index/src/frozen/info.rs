//! What a graph says of itself, the numbers that its bytes are made by, and why bytes are not a graph.

/// Bytes before the first section.
pub(crate) const HEADER_BYTES: usize = 256;
/// First bytes of every graph.
pub(crate) const MAGIC: [u8; 8] = *b"FRMGRAPH";
/// The version written, and the only one read.
pub(crate) const VERSION: u16 = 3;
/// Every section starts at a multiple of it.
pub(crate) const ALIGNMENT: usize = 64;
/// Nodes at most: a beam's entry has two bits for other things.
pub(crate) const NODES_MAX: usize = 1 << 30;
/// Behind the last neighbour of a list.
pub(crate) const END: u32 = u32::MAX;

/// How a graph was built. Search does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The lowest layer of a graph of Malkov & Yashunin 2018, built by `hnsw_rs`.
    Hnsw,
    /// Pruned in the way of Vamana (Subramanya et al. 2019).
    Vamana,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Hnsw => 1,
            Self::Vamana => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Hnsw, Self::Vamana].into_iter().find(|kind| kind.code() == code)
    }
}

/// Why bytes are not a graph. Offsets count from the graph's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The bytes do not start as a graph does.
    #[error("not a graph: wrong first bytes")]
    WrongMagic,
    /// Written by another version.
    #[error("graph version {found}, this build reads version {known}")]
    WrongVersion {
        /// In the bytes.
        found: u16,
        /// The one that can be read.
        known: u16,
    },
    /// The header promises another length than there is.
    #[error("the graph should have {expected} bytes and has {received}")]
    WrongLength {
        /// What the header adds up to.
        expected: u64,
        /// What was given.
        received: u64,
    },
    /// A field has a value that no builder writes.
    #[error("the graph is damaged at byte {offset}: {what} is {value}")]
    Damaged {
        /// Where the field lies.
        offset: u64,
        /// Name of the field.
        what: &'static str,
        /// What it holds; of a float, its bits.
        value: u64,
    },
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphInfo {
    /// How it was built.
    pub kind: Kind,
    /// Slots for neighbours that a node has.
    pub degree: usize,
    /// Width of the beam it was built with.
    pub beam: usize,
    /// Elements in a row.
    pub dim: usize,
    /// Rows it was built over.
    pub rows: usize,
    /// Distinct vectors among them.
    pub nodes: usize,
    /// The node where a search starts when there are no posts.
    pub entry: u32,
    /// Rows that share another row's vector and stand behind it.
    pub twins: usize,
    /// Training queries it learned from.
    pub learned: usize,
    /// Nodes from which walks start; 0 where all start at `entry`.
    pub posts: usize,
}
