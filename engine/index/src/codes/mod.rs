//! Codes: rows written in a fraction of their bytes, close enough that a search need not look at the rows.
//!
//! A search waits for memory, so what it reads decides how fast it is. A row of 256 floats is 1,024 bytes; its code
//! is one of these:
//!
//! | [`CodeKind`] | bytes at 256 | what it is |
//! |---|---|---|
//! | `Int8` | 272 | one byte an element |
//! | `Int4` | 144 | half a byte an element |
//! | `Int4x8` | 144, and 256 elsewhere | the same, and a byte for what is missing, read to re-score |
//! | `Bits` | 48 | one bit an element of the rotated row: for the smallest footprint |
//!
//! The first three are scalar codes in the way of LVQ (Aguerrebere et al. 2023, arXiv:2304.04759): the mean of all rows is taken
//! off, and each row has a scale of its own, so that its range is used whole. A row's [`Factors`] stand before its
//! code and come with the same cache line. `Bits` are RaBitQ's, whose estimate has no bias (`bits`, `rotation`).
//!
//! `layout` draws the bytes and finds its way in them, `encode` writes them and `decode` reads them back, `scalar`
//! rounds, and `query` turns a vector, or a row, into what is multiplied with codes. Scores are estimates of the inner product with the row that was
//! encoded; how far off one is, is known ([`PreparedQuery::bound`], [`PreparedQuery::spread`]).
//!
//! ```
//! use fromagerie_index::DenseRows;
//! use fromagerie_index::codes::{CodeKind, Codes, PreparedQuery, encode};
//!
//! # let data: Vec<f32> = (0..100 * 64).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) / 5.0).collect();
//! let rows = DenseRows::new(&data, 64).expect("whole rows");
//! let bytes = encode(CodeKind::Int4x8, &rows);                 // a section of a file
//! let codes = Codes::parse(&bytes)?;                           // ... mapped
//!
//! let mut query = PreparedQuery::default();                    // memory that one search leaves to the next
//! query.prepare(&codes, &data[..64]);
//! let mut best = (0, f32::NEG_INFINITY);
//! query.score_scattered(&[3, 1, 0, 2, 9], |row| codes.row(row), |row, score| {
//!     if score > best.1 {
//!         best = (row, score);
//!     }
//! });
//! let score = query.rescore(codes.row(best.0), codes.residual(best.0)); // the second level, nearly exact
//! # assert_eq!(best.0, 0);
//! # let _ = score;
//! # Ok::<(), fromagerie_index::codes::CodesError>(())
//! ```

mod bits;
mod decode;
mod encode;
mod layout;
mod query;
mod rotation;
mod scalar;

pub use encode::{encode, encode_seeded};
pub use layout::{CodeKind, Codes, CodesError, CodesInfo, Factors};
pub use query::PreparedQuery;
