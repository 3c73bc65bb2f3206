//! What a model has read so far, kept so that no position is read twice.

use std::any::Any;

use crate::error::ModelError;

/// Keys and values of the positions already read, so that none is read twice.
///
/// It belongs to the model that made it. Cloning copies the memory and so is spelt out: [`Cache::try_clone`].
pub struct Cache {
    state: Box<dyn CacheState>,
}

impl Cache {
    /// A cache around an implementation's own state.
    pub fn new(state: impl CacheState) -> Self {
        Self { state: Box::new(state) }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all but the first `len` positions; does nothing when there are not more.
    ///
    /// # Errors
    /// [`ModelError::Graph`] when the shorter copy cannot be made; the cache is then as before.
    pub fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        if len >= self.len() { Ok(()) } else { self.state.truncate(len) }
    }

    /// An independent copy.
    ///
    /// # Errors
    /// [`ModelError::Graph`] when the copy cannot be made.
    pub fn try_clone(&self) -> Result<Self, ModelError> {
        Ok(Self { state: self.state.try_clone()? })
    }

    /// Memory held, for whoever keeps many of these within a bound.
    pub fn bytes(&self) -> usize {
        self.state.bytes()
    }

    /// Says that nothing is read for now, so that no other sequence waits for this one and its memory is its own.
    ///
    /// # Errors
    /// [`ModelError::Graph`] when that memory cannot be had; the cache can then not be used any more.
    pub fn rest(&mut self) -> Result<(), ModelError> {
        self.state.rest()
    }

    /// The implementation's own state.
    ///
    /// # Errors
    /// [`ModelError::ForeignCache`] when the cache is another implementation's.
    pub fn state<S: CacheState>(&mut self) -> Result<&mut S, ModelError> {
        let state: &mut dyn Any = self.state.as_mut();
        state.downcast_mut().ok_or(ModelError::ForeignCache)
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("len", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

/// What an implementation of [`Model`](crate::Model) keeps in a [`Cache`].
pub trait CacheState: Any + Send + Sync {
    /// Positions held.
    fn len(&self) -> usize;

    /// Whether no position is held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all but the first `len` positions; `len` is smaller than [`CacheState::len`].
    ///
    /// # Errors
    /// When the shorter copy cannot be made; the state is then as before.
    fn truncate(&mut self, len: usize) -> Result<(), ModelError>;

    /// An independent copy.
    ///
    /// # Errors
    /// When the copy cannot be made.
    fn try_clone(&self) -> Result<Box<dyn CacheState>, ModelError>;

    /// Memory held.
    fn bytes(&self) -> usize;

    /// Nothing is read for now.
    ///
    /// # Errors
    /// When memory that was shared with others cannot be had alone.
    fn rest(&mut self) -> Result<(), ModelError> {
        Ok(())
    }
}
