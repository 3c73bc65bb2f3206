//! The first 256 bytes of a graph, field by field, and the cutting of what follows into sections.

use super::calibration::{ANY, Calibration, DEGREES, RANKS, TARGETS};
use super::info::{ALIGNMENT, GraphError, GraphInfo, HEADER_BYTES, Kind, MAGIC, NODES_MAX, VERSION};

/// Dimensions at most.
const DIM_MAX: u32 = 65_536;

/// The header, read.
pub(super) struct Header<'a>(pub(super) &'a [u8; HEADER_BYTES]);

impl Header<'_> {
    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }

    pub(super) fn f32(&self, at: usize) -> f32 {
        f32::from_bits(self.u32(at))
    }

    fn require(&self, sound: bool, offset: usize, what: &'static str, value: u64) -> Result<(), GraphError> {
        if sound { Ok(()) } else { Err(GraphError::Damaged { offset: offset as u64, what, value }) }
    }

    /// The fields, each in its range, and the numbers of groups and of centres.
    pub(super) fn info(&self) -> Result<(GraphInfo, usize, usize), GraphError> {
        if self.u16(8) != VERSION {
            return Err(GraphError::WrongVersion { found: self.u16(8), known: VERSION });
        }
        let kind = Kind::from_code(self.0[10]);
        let kind = kind.ok_or(GraphError::Damaged { offset: 10, what: "kind", value: self.0[10].into() })?;
        let (degree, dim, rows, nodes) = (self.u16(12), self.u32(16), self.u32(20), self.u32(24));
        let (entry, groups, twins) = (self.u32(28), self.u32(32), self.u32(36));
        self.require(degree.is_multiple_of(16), 12, "degree", degree.into())?;
        self.require((1..=DIM_MAX).contains(&dim), 16, "dim", dim.into())?;
        let sound = nodes.checked_add(twins) == Some(rows) && nodes as usize <= NODES_MAX && (nodes > 0 || rows == 0);
        self.require(sound, 24, "nodes", nodes.into())?;
        self.require(entry < nodes.max(1), 28, "entry", entry.into())?;
        self.require(groups <= twins && groups <= nodes, 32, "groups", groups.into())?;
        self.require(self.0[11] == 0, 11, "a reserved field", self.0[11].into())?;
        let (centres, posts) = (self.u16(14), self.u32(68));
        self.require((centres == 0) == (posts == 0), 14, "centres", centres.into())?;
        self.require(posts <= nodes && u32::from(centres) <= posts, 68, "posts", posts.into())?;
        for offset in (248..HEADER_BYTES).step_by(4) {
            self.require(self.u32(offset) == 0, offset, "a reserved field", self.u32(offset).into())?;
        }
        let info = GraphInfo {
            kind,
            degree: degree.into(),
            beam: self.u32(48) as usize,
            dim: dim as usize,
            rows: rows as usize,
            nodes: nodes as usize,
            entry,
            twins: twins as usize,
            learned: self.u32(52) as usize,
            posts: posts as usize,
        };
        Ok((info, groups as usize, centres.into()))
    }

    /// What the builder measured; finite, no gap or error below zero, and the degrees in their order.
    pub(super) fn calibration(&self) -> Result<Calibration, GraphError> {
        let mut calibration =
            Calibration { coarse_error: self.f32(60), fine_error: self.f32(64), ..Calibration::default() };
        for (at, gap) in calibration.gaps.iter_mut().enumerate() {
            *gap = self.f32(72 + 4 * at);
        }
        for offset in [56, 60, 64].into_iter().chain((72..72 + 4 * RANKS).step_by(4)) {
            let value = self.f32(offset);
            self.require((0.0..=1e6).contains(&value), offset, "a measure", value.to_bits().into())?;
        }
        for (at, beam) in calibration.beams.as_flattened_mut().iter_mut().enumerate() {
            *beam = self.u16(136 + 2 * at);
        }
        let mut last = 2.0;
        for (at, near) in calibration.near.iter_mut().enumerate() {
            *near = self.f32(200 + 4 * at);
            self.require((-2.0..=last).contains(near), 200 + 4 * at, "a degree's score", near.to_bits().into())?;
            last = *near;
        }
        calibration.spread = self.f32(212);
        let positive = calibration.spread > 0.0 && calibration.spread <= 1e6;
        self.require(positive, 212, "a measure", calibration.spread.to_bits().into())?;
        for (at, behind) in calibration.behind.iter_mut().enumerate() {
            *behind = self.f32(216 + 4 * at);
            self.require((-ANY..=ANY).contains(behind), 216 + 4 * at, "a measure", behind.to_bits().into())?;
        }
        Ok(calibration)
    }
}

/// The header, written. `width` is the grid's.
pub(super) fn write(
    info: &GraphInfo,
    (groups, centres): (usize, usize),
    width: f32,
    calibration: &Calibration,
    length: u64,
) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(8, &VERSION.to_le_bytes());
    put(10, &[info.kind.code()]);
    put(12, &(info.degree as u16).to_le_bytes());
    put(14, &(centres as u16).to_le_bytes());
    let words = [info.dim, info.rows, info.nodes, info.entry as usize, groups, info.twins];
    for (at, word) in words.into_iter().enumerate() {
        put(16 + 4 * at, &(word as u32).to_le_bytes());
    }
    put(40, &length.to_le_bytes());
    put(48, &(info.beam as u32).to_le_bytes());
    put(52, &(info.learned as u32).to_le_bytes());
    for (at, measure) in [width, calibration.coarse_error, calibration.fine_error].into_iter().enumerate() {
        put(56 + 4 * at, &measure.to_le_bytes());
    }
    put(68, &(info.posts as u32).to_le_bytes());
    for (at, gap) in calibration.gaps.iter().enumerate() {
        put(72 + 4 * at, &gap.to_le_bytes());
    }
    for (at, beam) in calibration.beams.as_flattened().iter().enumerate() {
        put(136 + 2 * at, &beam.to_le_bytes());
    }
    for (at, near) in calibration.near.iter().enumerate() {
        put(200 + 4 * at, &near.to_le_bytes());
    }
    put(212, &calibration.spread.to_le_bytes());
    for (at, behind) in calibration.behind.iter().enumerate() {
        put(216 + 4 * at, &behind.to_le_bytes());
    }
    header
}

const _: () =
    assert!(72 + 4 * RANKS == 136 && 136 + 2 * TARGETS.len() * DEGREES == 200 && 216 + 4 * TARGETS.len() == 248);

/// Cuts sections off the bytes, one after another, each at its alignment.
pub(super) struct Sections<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Sections<'a> {
    /// The next `count` things of `size` bytes, and whatever fills up to the next section.
    pub(super) fn next(&mut self, count: usize, size: usize) -> Result<&'a [u8], GraphError> {
        let received = self.bytes.len() as u64;
        let length = count.checked_mul(size);
        let end = length.and_then(|length| self.at.checked_add(length));
        let filled = end.and_then(|end| end.checked_next_multiple_of(ALIGNMENT));
        let wrong =
            |end: Option<usize>| GraphError::WrongLength { expected: end.map_or(u64::MAX, |end| end as u64), received };
        let (Some(end), Some(filled)) = (end, filled) else {
            return Err(wrong(None));
        };
        if filled > self.bytes.len() {
            return Err(wrong(Some(filled)));
        }
        let section = &self.bytes[self.at..end];
        self.at = filled;
        Ok(section)
    }
}
