//! Numbers that are read where they lie, at any address.

/// `u32` words in borrowed bytes of any alignment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Words<'a>(&'a [[u8; 4]]);

impl<'a> Words<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

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

    pub(crate) fn position(&self, wanted: u32) -> Option<usize> {
        self.0.binary_search_by_key(&wanted, |word| u32::from_le_bytes(*word)).ok()
    }

    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        Self(self.0.get(start..end).unwrap_or_default())
    }
}
