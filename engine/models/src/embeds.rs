//! The rows which a decoder reads: embedded tokens and visual tokens, in the order of the prompt.

use crate::error::ModelError;

/// Rows of input embeddings, `[len, width]`, to be read by a model in this order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Embeds {
    data: Vec<f32>,
    width: usize,
}

impl Embeds {
    /// No rows yet, each to be `width` wide.
    pub fn empty(width: usize) -> Self {
        Self { data: Vec::new(), width }
    }

    /// Rows that lie one after another in `data`.
    ///
    /// # Errors
    /// [`ModelError::WrongWidth`] when `data` is not a whole number of rows.
    pub fn from_rows(data: Vec<f32>, width: usize) -> Result<Self, ModelError> {
        if width == 0 || !data.len().is_multiple_of(width) {
            return Err(ModelError::WrongWidth { expected: width, found: data.len() });
        }
        Ok(Self { data, width })
    }

    /// Appends the rows of `other`.
    ///
    /// # Errors
    /// [`ModelError::WrongWidth`] when its rows are of another width.
    pub fn extend(&mut self, other: &Embeds) -> Result<(), ModelError> {
        self.extend_rows(&other.data, other.width)
    }

    /// Appends rows that lie one after another in `rows`, such as [`crate::ImageEncoding::visual_tokens`].
    ///
    /// # Errors
    /// [`ModelError::WrongWidth`] when the rows are of another width.
    pub fn extend_rows(&mut self, rows: &[f32], width: usize) -> Result<(), ModelError> {
        if width != self.width || width == 0 || !rows.len().is_multiple_of(width) {
            return Err(ModelError::WrongWidth { expected: self.width, found: width });
        }
        self.data.extend_from_slice(rows);
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values in a row: the model's hidden size.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All rows, one after another.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The rows in `range`, as embeddings of their own.
    ///
    /// `None` when the range does not lie within the rows.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Option<Self> {
        let values = range.start.checked_mul(self.width)?..range.end.checked_mul(self.width)?;
        Some(Self { data: self.data.get(values)?.to_vec(), width: self.width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_another_width_are_refused() {
        let mut embeds = Embeds::empty(3);
        embeds.extend_rows(&[1.0; 6], 3).unwrap();
        assert_eq!((embeds.len(), embeds.slice(1..2).unwrap().len()), (2, 1));
        assert!(embeds.slice(1..3).is_none());
        assert!(matches!(embeds.extend_rows(&[1.0; 4], 4), Err(ModelError::WrongWidth { expected: 3, found: 4 })));
        assert!(matches!(embeds.extend_rows(&[1.0; 4], 3), Err(ModelError::WrongWidth { .. })));
        assert!(Embeds::from_rows(vec![1.0; 5], 3).is_err());
    }
}
