//! The bytes of codes. Everything is little-endian. Sections start at multiples of 64 bytes, zeros between them, so
//! that they do in memory when the file is mapped there.
//!
//! ```text
//!  byte  0        8         10     11     12    16     20       24      32              40         64
//!       ┌────────┬─────────┬──────┬──────┬─────┬──────┬────────┬───────┬───────────────┬──────────┐
//!       │ magic  │ version │ kind │ zero │ dim │ rows │ stride │ seed  │ length, bytes │ zero     │
//!       │FRMCODES│ u16 = 1 │ u8   │ u8   │ u32 │ u32  │ u32    │ u64   │ u64           │ 24 bytes │
//!       └────────┴─────────┴──────┴──────┴─────┴──────┴────────┴───────┴───────────────┴──────────┘
//!
//!  mean         f32 × dim                     what was taken off every row before it was encoded
//!  codes        stride bytes × rows           one after another
//!      byte  0   scale     f32                a code's step
//!            4   offset    f32                what stands in the middle of the codes (0 in Int8); in Bits,
//!                                             scale * (ones - zeros)
//!            8   mean_dot  f32                <mean, row - mean>, exact up to f32
//!           12   error     f32                length of what the code leaves out
//!           16   code                         zeros up to a multiple of 32 bytes
//!                  Int8          i8 × dim     element = mean + scale * code,                   -127..=127
//!                  Int4, Int4x8  u4 × dim     element = mean + offset + scale * (code - 7.5)      0..=15
//!                                             element 2j in the low half of byte j, 2j + 1 in the high one
//!                  Bits          u1 × width   rotated row - mean = scale or -scale, for a 1 or a 0; width is dim
//!                                             up to a multiple of 64, bit i % 8 of byte i / 8 is element i
//!  residuals    i8 × dim, × rows              Int4x8 only: element += scale / 254 * residual, -127..=127;
//!                                             zeros up to a multiple of 32 bytes a row
//! ```
//!
//! `seed` is that of the rotation ([`Bits`](CodeKind::Bits), else 0). `stride` follows from kind and dim and is written so that a reader of the bytes need not know how.
//! No checksum lies inside: storage keeps one over the whole. Damage that parsing cannot see, in a code or in its
//! factors, makes a score wrong and nothing worse.

use fromagerie_kernels::{bits, int4};

use super::rotation::Rotation;

/// Bytes before the mean.
const HEADER_BYTES: usize = 64;
/// First bytes of every section of codes.
const MAGIC: [u8; 8] = *b"FRMCODES";
/// The version written, and the newest read.
const VERSION: u16 = 1;
/// Where sections start.
const ALIGN: usize = 64;
/// What the code of a row is filled up to: the registers that most machines have.
const CODE_ALIGN: usize = 32;
/// Elements in a row at most; sums of their products stay within 32 bits.
pub(super) const DIM_MAX: usize = 65_535;

/// How rows are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodeKind {
    /// A byte an element.
    Int8,
    /// Half a byte an element.
    Int4,
    /// Half a byte an element, and a byte for the rest of it in a second place.
    Int4x8,
    /// A bit an element, of the row rotated.
    Bits,
}

impl CodeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Int8, Self::Int4, Self::Int4x8, Self::Bits];

    fn number(self) -> u8 {
        match self {
            Self::Int8 => 1,
            Self::Int4 => 2,
            Self::Int4x8 => 3,
            Self::Bits => 4,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Bytes of a row's code without its factors, padding included.
    #[must_use]
    pub fn code_bytes(self, dim: usize) -> usize {
        let bytes = match self {
            Self::Int8 => dim,
            Self::Int4 | Self::Int4x8 => int4::bytes(dim),
            Self::Bits => bits::bytes(Rotation::width(dim)),
        };
        bytes.next_multiple_of(CODE_ALIGN)
    }

    /// Bytes of a row: factors and code.
    #[must_use]
    pub fn stride(self, dim: usize) -> usize {
        Factors::BYTES + self.code_bytes(dim)
    }

    /// Bytes of a row's second level; 0 where there is none.
    #[must_use]
    pub fn residual_bytes(self, dim: usize) -> usize {
        if self == Self::Int4x8 { dim.next_multiple_of(CODE_ALIGN) } else { 0 }
    }
}

/// What stands before a row's code; see the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Factors {
    /// A code's step.
    pub scale: f32,
    /// What stands in the middle of the codes.
    pub offset: f32,
    /// Inner product of the mean with what the row has beyond it.
    pub mean_dot: f32,
    /// Length of what the code leaves out.
    pub error: f32,
}

impl Factors {
    /// Bytes of the four.
    pub const BYTES: usize = 16;

    pub(super) fn write(self, row: &mut [u8; Self::BYTES]) {
        let words = [self.scale, self.offset, self.mean_dot, self.error];
        for (bytes, word) in row.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
    }

    #[inline]
    pub(super) fn read(row: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| f32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        Self { scale: word(0), offset: word(4), mean_dot: word(8), error: word(12) }
    }
}

/// Why bytes are not codes. Offsets count from the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodesError {
    /// The bytes do not start as codes do.
    #[error("not codes: wrong first bytes")]
    WrongMagic,
    /// Written by a newer version.
    #[error("codes of version {found}, this build reads up to {newest}")]
    WrongVersion {
        /// In the bytes.
        found: u16,
        /// The newest that can be read.
        newest: u16,
    },
    /// The header promises another length than there is.
    #[error("the codes should have {expected} bytes and have {received}")]
    WrongLength {
        /// What the header adds up to.
        expected: u64,
        /// What was given.
        received: u64,
    },
    /// A field has a value that no encoder writes.
    #[error("the codes are damaged at byte {offset}: {what} is {value}")]
    Damaged {
        /// Where the field lies.
        offset: u64,
        /// Name of the field.
        what: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodesInfo {
    /// How rows are encoded.
    pub kind: CodeKind,
    /// Elements in a row.
    pub dim: usize,
    /// Rows encoded.
    pub rows: usize,
    /// Seed of the rotation; 0 for kinds that do not rotate.
    pub seed: u64,
}

impl CodesInfo {
    /// How rows are rotated.
    pub(super) fn rotation(self) -> Rotation {
        Rotation::new(self.dim, self.seed)
    }

    /// Where the mean, the codes and the residuals start, and where all ends. `None` past what can be addressed.
    fn sections(self) -> Option<[usize; 4]> {
        let after = |start: usize, bytes: Option<usize>| start.checked_add(bytes?)?.checked_next_multiple_of(ALIGN);
        let codes = after(HEADER_BYTES, self.dim.checked_mul(4))?;
        let residuals = after(codes, self.rows.checked_mul(self.kind.stride(self.dim)))?;
        let end = after(residuals, self.rows.checked_mul(self.kind.residual_bytes(self.dim)))?;
        Some([HEADER_BYTES, codes, residuals, end])
    }

    /// Bytes of such codes, all of them.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.sections().map_or(usize::MAX, |[.., end]| end)
    }

    /// Writes the header and the mean into fresh bytes; returns where the codes and the residuals go.
    pub(super) fn lay_out<'a>(self, mean: &[f32], bytes: &'a mut Vec<u8>) -> (&'a mut [u8], &'a mut [u8]) {
        let [mean_at, codes_at, residuals_at, end] = self.sections().unwrap_or_default();
        bytes.clear();
        bytes.resize(end, 0);
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(10, &[self.kind.number()]);
        put(12, &(self.dim as u32).to_le_bytes());
        put(16, &(self.rows as u32).to_le_bytes());
        put(20, &(self.kind.stride(self.dim) as u32).to_le_bytes());
        put(24, &self.seed.to_le_bytes());
        put(32, &(end as u64).to_le_bytes());
        for (at, element) in mean.iter().enumerate() {
            put(mean_at + 4 * at, &element.to_le_bytes());
        }
        let (codes, residuals) = bytes[codes_at..].split_at_mut(residuals_at - codes_at);
        let [codes_len, residuals_len] = [self.kind.stride(self.dim), self.kind.residual_bytes(self.dim)];
        (&mut codes[..self.rows * codes_len], &mut residuals[..self.rows * residuals_len])
    }
}

/// Codes over borrowed bytes. Parsing reads the header.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    info: CodesInfo,
    mean: &'a [[u8; 4]],
    codes: &'a [u8],
    residuals: &'a [u8],
    stride: usize,
    residual_bytes: usize,
}

impl<'a> Codes<'a> {
    /// Finds the sections and checks that they are exactly there.
    ///
    /// # Errors
    /// [`CodesError`], with the offset of what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CodesError> {
        let received = bytes.len() as u64;
        let wrong_length = |expected: u64| CodesError::WrongLength { expected, received };
        if bytes.get(..8).ok_or(wrong_length(HEADER_BYTES as u64))? != MAGIC {
            return Err(CodesError::WrongMagic);
        }
        let info = read_header(bytes.first_chunk().ok_or(wrong_length(HEADER_BYTES as u64))?)?;
        let sections = info.sections().ok_or(wrong_length(u64::MAX))?;
        let [mean, codes, residuals, end] = sections;
        let written = u64_at(bytes, 32);
        if end != bytes.len() || written != end as u64 {
            return Err(wrong_length(end as u64));
        }
        let (stride, residual_bytes) = (info.kind.stride(info.dim), info.kind.residual_bytes(info.dim));
        Ok(Self {
            info,
            mean: bytes[mean..mean + 4 * info.dim].as_chunks().0,
            codes: &bytes[codes..codes + info.rows * stride],
            residuals: &bytes[residuals..residuals + info.rows * residual_bytes],
            stride,
            residual_bytes,
        })
    }

    /// What the header says.
    #[must_use]
    pub fn info(&self) -> CodesInfo {
        self.info
    }

    /// What was taken off every row, `[dim]`.
    pub fn mean(&self) -> impl ExactSizeIterator<Item = f32> + 'a {
        self.mean.iter().map(|word| f32::from_le_bytes(*word))
    }

    /// Squared length of the mean.
    pub(super) fn mean_squared(&self) -> f64 {
        self.mean().map(|m| f64::from(m) * f64::from(m)).sum()
    }

    /// Factors and code of a row, `[stride]`: what a [`PreparedQuery`](super::PreparedQuery) scores, here or
    /// wherever a graph keeps a copy.
    ///
    /// # Panics
    /// On a row that is not there.
    #[must_use]
    #[inline]
    pub fn row(&self, row: u32) -> &'a [u8] {
        &self.codes[row as usize * self.stride..][..self.stride]
    }

    /// Code of a row, without its factors.
    pub(super) fn code(&self, row: u32) -> &'a [u8] {
        &self.row(row)[Factors::BYTES..]
    }

    /// Second level of a row's code; empty where the kind has none.
    ///
    /// # Panics
    /// On a row that is not there.
    #[must_use]
    #[inline]
    pub fn residual(&self, row: u32) -> &'a [u8] {
        &self.residuals[row as usize * self.residual_bytes..][..self.residual_bytes]
    }

    /// Factors of a row.
    ///
    /// # Panics
    /// On a row that is not there.
    #[must_use]
    pub fn factors(&self, row: u32) -> Factors {
        self.row(row).first_chunk().map_or_else(Factors::default, Factors::read)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// The fields, each in its range.
fn read_header(header: &[u8; HEADER_BYTES]) -> Result<CodesInfo, CodesError> {
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(CodesError::WrongVersion { found: version, newest: VERSION });
    }
    let require = |sound: bool, offset: u64, what: &'static str, value: u64| {
        if sound { Ok(()) } else { Err(CodesError::Damaged { offset, what, value }) }
    };
    let kind = CodeKind::from_number(header[10]);
    let kind = kind.ok_or(CodesError::Damaged { offset: 10, what: "kind", value: header[10].into() })?;
    let (dim, rows) = (u32_at(12) as usize, u32_at(16) as usize);
    require(header[11] == 0, 11, "a reserved field", header[11].into())?;
    require((1..=DIM_MAX).contains(&dim), 12, "dim", dim as u64)?;
    require(u32_at(20) as usize == kind.stride(dim), 20, "stride", u32_at(20).into())?;
    let seed = u64_at(header, 24);
    require(seed == 0 || kind == CodeKind::Bits, 24, "seed", seed)?;
    for offset in [40, 48, 56] {
        let value = u64_at(header, offset);
        require(value == 0, offset as u64, "a reserved field", value)?;
    }
    Ok(CodesInfo { kind, dim, rows, seed })
}
