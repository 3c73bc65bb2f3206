//! What a caller derives from a segment and keeps as long as the segment is there: storage only holds it.

use std::any::Any;
use std::sync::OnceLock;

/// A place for one value of the caller's.
#[derive(Default)]
pub(crate) struct Derived(OnceLock<Box<dyn Any + Send + Sync>>);

impl Derived {
    /// The value, made now if there was none; none when another type of value is there.
    pub(super) fn get<T: Any + Send + Sync + Default>(&self) -> Option<&T> {
        self.0.get_or_init(|| Box::new(T::default())).downcast_ref()
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derived").field("is_there", &self.0.get().is_some()).finish()
    }
}
