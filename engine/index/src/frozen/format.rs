//! The bytes of a frozen graph. Everything is little-endian, and every section starts at a multiple of 64.
//!
//! ```text
//!  byte  0        8         10     11     12       14     16
//!       ┌────────┬─────────┬──────┬──────┬────────┬─────────┐
//!       │ magic  │ version │ kind │ zero │ degree │ centres │
//!       │FRMGRAPH│ u16 = 3 │ u8   │ u8   │ u16    │ u16     │
//!       └────────┴─────────┴──────┴──────┴────────┴─────────┘
//!  byte 16     20     24      28      32       36      40              48     52
//!       ┌──────┬──────┬───────┬───────┬────────┬───────┬───────────────┬──────┬─────────┐
//!       │ dim  │ rows │ nodes │ entry │ groups │ twins │ length, bytes │ beam │ learned │
//!       │ u32  │ u32  │ u32   │ u32   │ u32    │ u32   │ u64           │ u32  │ u32     │
//!       └──────┴──────┴───────┴───────┴────────┴───────┴───────────────┴──────┴─────────┘
//!  byte 56       60              64            68       72         136                  200
//!       ┌───────┬───────────────┬─────────────┬────────┬──────────┬────────────────────┬─────────┐
//!       │ width │ coarse error  │ fine error  │ posts  │ gaps     │ beams by recall    │ near    │
//!       │ f32   │ f32           │ f32         │ u32    │ f32 × 16 │ u16 × 8, 4 degrees │ f32 × 3 │
//!       └───────┴───────────────┴─────────────┴────────┴──────────┴────────────────────┴─────────┘
//!  byte 212      216                  248    256
//!       ┌────────┬────────────────────┬──────┐
//!       │ spread │ behind, by recall  │ zero │
//!       │ f32    │ f32 × 8            │      │
//!       └────────┴────────────────────┴──────┘
//!
//!  mean        f32 × dim                       the grid of the codes, see `grid`
//!  step        f32 × dim
//!  centres     centres × (as codes)            where walks start, see `posts`; all four may be empty
//!  bounds      u32 × centres                   posts of centre c: posts[bounds[c-1]..bounds[c]]
//!  posts       u32 × posts                     their nodes
//!  near        posts × (as codes)              and the nodes' codes
//!  codes       nodes × (dim / 2 bytes, up to a multiple of 64)
//!  lists       nodes × degree u32              neighbours, nodes; u32::MAX behind the last
//!  signs       for each 32 nodes 32 × (dim / 8 bytes, rounded up), see `signs`
//!  rests       nodes × (dim bytes, up to a multiple of 64)
//!  rows        u32 × nodes                     the row that a node stands for
//!  groups      u32 × groups                    ascending nodes that stand for more rows than one
//!  ends        u32 × groups                    twins of group g: twins[ends[g-1]..ends[g]]
//!  twins       u32 × twins                     rows with the very vector of their group's row
//! ```
//!
//! Rows with one and the same vector are one node, under the lowest of them; the others are its *twins* and come back
//! with it. So thousands of equal pictures cannot fill each other's lists. Nodes are numbered so that neighbours lie
//! near each other. `gaps`, the errors, the beams and all after them are what [`Calibration`] holds. No checksum lies inside: storage
//! keeps one over the whole.

use std::borrow::Cow;
use std::fmt;

use super::calibration::Calibration;
use super::grid::{self, Grid};
use super::header::{Header, Sections};
use super::info::{END, GraphError, GraphInfo, HEADER_BYTES, MAGIC};
use super::posts::Posts;
use super::signs::{self, Signs};
use super::words::Words;

/// Codes and lists of the nodes: all that a walk reads. A builder walks what it has so far through the same eyes.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    pub(crate) codes: &'a [u8],
    pub(crate) lists: &'a [u8],
    pub(crate) code_bytes: usize,
    /// Slots in a list.
    pub(crate) degree: usize,
    pub(crate) nodes: usize,
}

impl<'a> Links<'a> {
    /// Code of a node.
    ///
    /// # Panics
    /// On a node that is not there: whoever reads ids from bytes compares them with `nodes` first.
    #[inline]
    pub(crate) fn code(&self, node: u32) -> &'a [u8] {
        &self.codes[node as usize * self.code_bytes..][..self.code_bytes]
    }

    /// The codes of nodes in sequence.
    pub(crate) fn codes_of(&self, nodes: std::ops::Range<u32>) -> &'a [u8] {
        &self.codes[nodes.start as usize * self.code_bytes..nodes.end as usize * self.code_bytes]
    }

    /// All slots of a node's list, as bytes.
    ///
    /// # Panics
    /// As [`Self::code`].
    #[inline]
    pub(crate) fn list_bytes(&self, node: u32) -> &'a [u8] {
        &self.lists[node as usize * 4 * self.degree..][..4 * self.degree]
    }

    /// A node's neighbours; damage may be among them.
    pub(crate) fn list(&self, node: u32) -> impl Iterator<Item = u32> + 'a {
        Words::of(self.list_bytes(node)).iter().take_while(|near| *near != END)
    }
}

/// A frozen graph over borrowed bytes. Parsing reads the header and the grid; it copies nothing that is aligned.
#[derive(Clone)]
pub struct Graph<'a> {
    pub(crate) info: GraphInfo,
    pub(crate) calibration: Calibration,
    pub(crate) grid: Grid<'a>,
    pub(crate) posts: Posts<'a>,
    pub(crate) links: Links<'a>,
    pub(crate) signs: Signs<'a>,
    pub(crate) rests: &'a [u8],
    pub(crate) rows: Words<'a>,
    pub(crate) groups: Words<'a>,
    pub(crate) ends: Words<'a>,
    pub(crate) twins: Words<'a>,
}

impl<'a> Graph<'a> {
    /// Finds the sections of a graph and checks that they are exactly there. The lists inside are not looked at:
    /// storage has checked the checksum, search guards itself, and [`Graph::check`] reads them all.
    ///
    /// # Errors
    /// [`GraphError`], with the offset of what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GraphError> {
        let received = bytes.len() as u64;
        let too_short = GraphError::WrongLength { expected: HEADER_BYTES as u64, received };
        if bytes.get(..8).ok_or(too_short)? != MAGIC {
            return Err(GraphError::WrongMagic);
        }
        let header = Header(bytes.first_chunk().ok_or(too_short)?);
        let (info, groups, centres) = header.info()?;
        let calibration = header.calibration()?;
        let (code_bytes, rest_bytes) = (grid::code_bytes(info.dim), grid::rest_bytes(info.dim));
        let mut rest = Sections { bytes, at: HEADER_BYTES };
        let at = rest.at;
        let (mean, step) = (rest.next(info.dim, 4)?, rest.next(info.dim, 4)?);
        let posts = Posts {
            centres: rest.next(centres, code_bytes)?,
            bounds: Words::of(rest.next(centres, 4)?),
            nodes: Words::of(rest.next(info.posts, 4)?),
            codes: rest.next(info.posts, code_bytes)?,
            code_bytes: if info.posts > 0 { code_bytes } else { 0 },
        };
        let links = Links {
            codes: rest.next(info.nodes, code_bytes)?,
            lists: rest.next(info.nodes, 4 * info.degree)?,
            code_bytes,
            degree: info.degree,
            nodes: info.nodes,
        };
        let block_bytes = signs::block_bytes(info.dim);
        let signs = Signs { blocks: rest.next(signs::block_count(info.nodes), block_bytes)?, block_bytes };
        let rests = rest.next(info.nodes, rest_bytes)?;
        let rows = Words::of(rest.next(info.nodes, 4)?);
        let (group_nodes, ends) = (Words::of(rest.next(groups, 4)?), Words::of(rest.next(groups, 4)?));
        let twins = Words::of(rest.next(info.twins, 4)?);
        if rest.at != bytes.len() || header.u64(40) != received {
            return Err(GraphError::WrongLength { expected: rest.at as u64, received });
        }
        let grid = Grid { mean: floats(mean), step: floats(step), width: header.f32(56) };
        if let Some(bad) = grid.mean.iter().chain(grid.step.iter()).find(|x| !x.is_finite()) {
            let value = bad.to_bits().into();
            return Err(GraphError::Damaged { offset: at as u64, what: "an element of the grid", value });
        }
        Ok(Self { info, calibration, grid, posts, links, signs, rests, rows, groups: group_nodes, ends, twins })
    }

    /// What the header says.
    #[must_use]
    pub fn info(&self) -> GraphInfo {
        self.info
    }

    /// Neighbours in all lists; reads them all.
    #[must_use]
    pub fn edges(&self) -> usize {
        (0..self.info.nodes as u32).map(|node| self.links.list(node).count()).sum()
    }

    /// The row that a node stands for; `None` where damage says one that does not exist.
    #[inline]
    pub(crate) fn row_of(&self, node: u32) -> Option<u32> {
        self.rows.get(node as usize).filter(|row| (*row as usize) < self.info.rows)
    }

    /// Rows with the very vector of `node`'s row.
    #[inline]
    pub(crate) fn twins_of(&self, node: u32) -> impl Iterator<Item = u32> {
        let group = if self.groups.len() == 0 { None } else { self.groups.position(node) };
        let range = group.map(|group| {
            let start = if group == 0 { 0 } else { self.ends.get(group - 1).unwrap_or(0) };
            (start as usize, self.ends.get(group).unwrap_or(0) as usize)
        });
        let twins = range.map_or_else(Words::default, |(start, end)| self.twins.slice(start, end));
        let rows = self.info.rows;
        twins.iter().filter(move |row| (*row as usize) < rows)
    }

    /// Whether a node's row or a twin of it is one that `allow` lets through.
    #[inline]
    pub(crate) fn has_row(&self, node: u32, allow: impl Fn(u32) -> bool) -> bool {
        self.row_of(node).is_some_and(&allow) || self.twins_of(node).any(&allow)
    }

    /// What a node's code leaves out.
    #[inline]
    pub(crate) fn rest(&self, node: u32) -> &'a [u8] {
        let bytes = grid::rest_bytes(self.info.dim);
        &self.rests[node as usize * bytes..][..bytes]
    }
}

fn floats(bytes: &[u8]) -> Cow<'_, [f32]> {
    let copied = || bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    fromagerie_kernels::floats(bytes).map_or_else(copied, Cow::Borrowed)
}

impl fmt::Debug for Graph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.info.fmt(f)
    }
}
