//! The bytes of a frozen graph. Everything is little-endian; `u32` words follow a header of 64 bytes.
//!
//! ```text
//!  byte  0        8         10     11       12    14        16
//!       ┌────────┬─────────┬──────┬────────┬─────┬─────────┬─────────────────┐
//!       │ magic  │ version │ kind │ levels │  m  │ zero    │ ef_construction │
//!       │FRMGRAPH│ u16 = 1 │ u8   │ u8     │ u16 │ u16     │ u32             │
//!       └────────┴─────────┴──────┴────────┴─────┴─────────┴─────────────────┘
//!  byte 20     24      28      32       36      40              48         64
//!       ┌──────┬───────┬───────┬────────┬───────┬───────────────┬──────────┐
//!       │ dim  │ rows  │ entry │ groups │ twins │ length, bytes │ zero     │
//!       │ u32  │ u32   │ u32   │ u32    │ u32   │ u64           │ 16 bytes │
//!       └──────┴───────┴───────┴────────┴───────┴───────────────┴──────────┘
//!
//!  layer table    levels × [nodes u32, edges u32]               layer 0 first; its nodes = rows
//!  layer 0        ends  u32 × rows                              list of row r: neighbours[ends[r-1]..ends[r]]
//!                 neighbours u32 × edges                        rows
//!  layer 1..      row   u32 × nodes                             ascending; a node's place here is its position
//!                 ends  u32 × nodes
//!                 neighbours u32 × edges                        positions in this layer
//!  twins          group u32 × groups                            ascending rows, each in the graph
//!                 ends  u32 × groups                            as above, into the next
//!                 twin  u32 × twins                             rows with the very vector of their group's row
//! ```
//!
//! Rows with one and the same vector stand in the graph once, as the lowest of them; the others are its *twins*,
//! have empty lists, and come back with it. So thousands of equal pictures cannot fill each other's lists.
//!
//! `levels` is 0 when there are no rows and 1 for a single-layer graph; search asks for nothing else, so builders
//! of another [`Kind`] write the same bytes. No checksum lies inside: storage keeps one over the whole.

use std::fmt;

/// Bytes before the layer table.
pub(crate) const HEADER_BYTES: usize = 64;
/// First bytes of every graph.
pub(crate) const MAGIC: [u8; 8] = *b"FRMGRAPH";
/// The version written, and the newest read.
pub(crate) const VERSION: u16 = 1;
/// Layers at most (`hnsw_rs` makes no more).
pub(crate) const LEVELS_MAX: usize = 16;

/// How a graph was built. Search does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Layers of Malkov & Yashunin 2018, built by `hnsw_rs`.
    Hnsw,
    /// One layer, pruned in the way of Vamana (Subramanya et al. 2019). No builder yet.
    Vamana,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Hnsw => 1,
            Self::Vamana => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
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
    /// Written by a newer version.
    #[error("graph version {found}, this build reads up to {newest}")]
    WrongVersion {
        /// In the bytes.
        found: u16,
        /// The newest that can be read.
        newest: u16,
    },
    /// The header promises another length than there is.
    #[error("the graph should have {expected} bytes and has {received}")]
    WrongLength {
        /// What the header and layer table add up to.
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
        /// What it holds.
        value: u64,
    },
}

/// `u32` words in borrowed bytes of any alignment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Words<'a>(&'a [[u8; 4]]);

impl<'a> Words<'a> {
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<u32> {
        self.0.get(at).map(|word| u32::from_le_bytes(*word))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0.iter().map(|word| u32::from_le_bytes(*word))
    }

    fn position(&self, wanted: u32) -> Option<usize> {
        self.0.binary_search_by_key(&wanted, |word| u32::from_le_bytes(*word)).ok()
    }
}

/// Lists of words: `ends[i - 1]..ends[i]` of `items` is list `i`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lists<'a> {
    pub(crate) ends: Words<'a>,
    pub(crate) items: Words<'a>,
}

impl<'a> Lists<'a> {
    /// List `at`; empty where the ends make no sense.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Words<'a> {
        let start = if at == 0 { Some(0) } else { self.ends.get(at - 1) };
        let list = start.zip(self.ends.get(at)).and_then(|(start, end)| self.items.0.get(start as usize..end as usize));
        Words(list.unwrap_or_default())
    }
}

/// One layer: `rows` is empty in layer 0, where positions are rows.
#[derive(Clone, Copy, Default)]
pub(crate) struct Layer<'a> {
    pub(crate) rows: Words<'a>,
    pub(crate) lists: Lists<'a>,
}

impl Layer<'_> {
    /// Where `row` stands in an upper layer.
    pub(crate) fn position(&self, row: u32) -> Option<usize> {
        self.rows.position(row)
    }
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphInfo {
    /// How it was built.
    pub kind: Kind,
    /// Layers; 0 when there are no rows.
    pub levels: usize,
    /// Neighbours aimed at in an upper layer; twice that in layer 0.
    pub m: usize,
    /// Width of the beam it was built with.
    pub ef_construction: usize,
    /// Elements in a row.
    pub dim: usize,
    /// Rows it was built over.
    pub rows: usize,
    /// Where every search starts.
    pub entry: u32,
    /// Rows that share another row's vector and stand behind it.
    pub twins: usize,
    /// Neighbours in all lists.
    pub edges: usize,
}

/// A frozen graph over borrowed bytes. Parsing reads the header and the layer table, some hundred bytes.
#[derive(Clone, Copy)]
pub struct Graph<'a> {
    pub(crate) info: GraphInfo,
    pub(crate) layers: [Layer<'a>; LEVELS_MAX],
    pub(crate) groups: Words<'a>,
    pub(crate) twins: Lists<'a>,
}

impl<'a> Graph<'a> {
    /// Finds the sections of a graph and checks that they are exactly there. The lists inside are not looked at:
    /// storage has checked the checksum, search guards itself, and [`Graph::check`] reads them all.
    ///
    /// # Errors
    /// [`GraphError`], with the offset of what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GraphError> {
        let too_short = GraphError::WrongLength { expected: HEADER_BYTES as u64, received: bytes.len() as u64 };
        if bytes.get(..8).ok_or(too_short)? != MAGIC {
            return Err(GraphError::WrongMagic);
        }
        let header = Header(bytes.first_chunk().ok_or(too_short)?);
        if header.u16(8) != VERSION {
            return Err(GraphError::WrongVersion { found: header.u16(8), newest: VERSION });
        }
        let (mut info, groups) = header.read()?;
        let mut rest = Sections { bytes, at: HEADER_BYTES };
        let table = rest.words(2 * info.levels)?;
        let mut layers = [Layer::default(); LEVELS_MAX];
        for (level, layer) in layers[..info.levels].iter_mut().enumerate() {
            let nodes = table.get(2 * level).unwrap_or_default() as usize;
            let edges = table.get(2 * level + 1).unwrap_or_default() as usize;
            let fits = if level == 0 { nodes == info.rows } else { (1..=info.rows).contains(&nodes) };
            if !fits {
                let offset = (HEADER_BYTES + 8 * level) as u64;
                return Err(GraphError::Damaged { offset, what: "nodes of a layer", value: nodes as u64 });
            }
            let rows = if level == 0 { Words::default() } else { rest.words(nodes)? };
            *layer = Layer { rows, lists: Lists { ends: rest.words(nodes)?, items: rest.words(edges)? } };
            info.edges += edges;
        }
        let group_rows = rest.words(groups)?;
        let twins = Lists { ends: rest.words(groups)?, items: rest.words(info.twins)? };
        if rest.at != bytes.len() || header.u64(40) != rest.at as u64 {
            return Err(GraphError::WrongLength { expected: rest.at as u64, received: bytes.len() as u64 });
        }
        Ok(Self { info, layers, groups: group_rows, twins })
    }

    /// What the header says.
    #[must_use]
    pub fn info(&self) -> GraphInfo {
        self.info
    }

    /// Rows with the very vector of `row`, which stands for them in the graph.
    #[inline]
    pub(crate) fn twins_of(&self, row: u32) -> Words<'a> {
        self.groups.position(row).map_or_else(Words::default, |group| self.twins.get(group))
    }
}

impl fmt::Debug for Graph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}

/// The first 64 bytes.
struct Header<'a>(&'a [u8; HEADER_BYTES]);

impl Header<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }

    /// The fields, each in its range, and the number of groups.
    fn read(&self) -> Result<(GraphInfo, usize), GraphError> {
        let require = |sound: bool, offset: u64, what: &'static str, value: u64| {
            if sound { Ok(()) } else { Err(GraphError::Damaged { offset, what, value }) }
        };
        let (levels, dim, rows, entry) = (self.0[11], self.u32(20), self.u32(24), self.u32(28));
        let (groups, twins) = (self.u32(32), self.u32(36));
        let kind = Kind::from_code(self.0[10]);
        let kind = kind.ok_or(GraphError::Damaged { offset: 10, what: "kind", value: self.0[10].into() })?;
        require((levels == 0) == (rows == 0) && usize::from(levels) <= LEVELS_MAX, 11, "levels", levels.into())?;
        require(self.u16(14) == 0, 14, "a reserved field", self.u16(14).into())?;
        require(dim > 0, 20, "dim", dim.into())?;
        require(entry < rows || (rows == 0 && entry == 0), 28, "entry", entry.into())?;
        require(groups <= twins, 32, "groups", groups.into())?;
        require(twins < rows.max(1), 36, "twins", twins.into())?;
        for offset in [48, 56] {
            require(self.u64(offset) == 0, offset as u64, "a reserved field", self.u64(offset))?;
        }
        let info = GraphInfo {
            kind,
            levels: levels.into(),
            m: self.u16(12).into(),
            ef_construction: self.u32(16) as usize,
            dim: dim as usize,
            rows: rows as usize,
            entry,
            twins: twins as usize,
            edges: 0,
        };
        Ok((info, groups as usize))
    }
}

/// Cuts sections off the bytes, one after another.
struct Sections<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Sections<'a> {
    fn words(&mut self, count: usize) -> Result<Words<'a>, GraphError> {
        let expected = self.at as u64 + 4 * count as u64;
        let end = usize::try_from(expected).ok();
        let section = end.and_then(|end| self.bytes.get(self.at..end));
        let section = section.ok_or(GraphError::WrongLength { expected, received: self.bytes.len() as u64 })?;
        self.at += section.len();
        Ok(Words(section.as_chunks().0))
    }
}
