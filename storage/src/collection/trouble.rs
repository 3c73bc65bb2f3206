//! Seals that fail rest before they are tried again, longer each time: a full disk is not written full again and again.

use std::time::{Duration, Instant};

use crate::error::StorageError;

use super::Inner;

/// Largest doubling of the rest.
const DOUBLINGS_MAX: u32 = 6;

/// Why the last seal or merge failed, and until when the next one rests.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: StorageError,
    failures: u32,
    until: Instant,
}

impl Inner {
    /// Remembers how a seal went.
    pub(super) fn note(&self, sealed: &Result<(), StorageError>) {
        let mut trouble = self.trouble.lock();
        *trouble = sealed.as_ref().err().map(|error| {
            let failures = trouble.as_ref().map_or(0, |before| before.failures + 1);
            let rest = rest(self.root.options.seal_rest, failures);
            Trouble { error: error.clone(), failures, until: Instant::now() + rest }
        });
    }

    /// Why seals rest, when they do.
    pub(super) fn resting(&self) -> Option<StorageError> {
        let trouble = self.trouble.lock();
        trouble.as_ref().filter(|trouble| Instant::now() < trouble.until).map(|trouble| trouble.error.clone())
    }
}

/// How long to rest after so many failures in a row before this one.
fn rest(first: Duration, failures: u32) -> Duration {
    first * (1 << failures.min(DOUBLINGS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_the_one_before_up_to_a_limit() {
        let first = Duration::from_millis(100);
        assert_eq!([0, 1, 2, 6, 7, 1000].map(|n| rest(first, n).as_millis()), [100, 200, 400, 6400, 6400, 6400]);
    }
}
