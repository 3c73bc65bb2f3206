//! Work that fails rests before it is tried again, longer each time: a full disk is not written full again and again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::StorageError;

/// Largest doubling of the rest.
const DOUBLINGS_MAX: u32 = 6;

/// What stands in the way of one kind of work, if anything does.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Failure>>);

/// Why the last try failed, and until when the next one rests.
#[derive(Debug)]
struct Failure {
    error: StorageError,
    failures: u32,
    until: Instant,
}

impl Trouble {
    /// Remembers how a try went; after a first failure the next one rests so long.
    pub(super) fn note(&self, tried: &Result<(), StorageError>, first_rest: Duration) {
        let mut last = self.0.lock();
        *last = tried.as_ref().err().map(|error| {
            let failures = last.as_ref().map_or(0, |before| before.failures + 1);
            Failure { error: error.clone(), failures, until: Instant::now() + rest(first_rest, failures) }
        });
    }

    /// Why the last try failed, if it did.
    pub(super) fn error(&self) -> Option<StorageError> {
        self.0.lock().as_ref().map(|failure| failure.error.clone())
    }

    /// The same, as long as the next try rests.
    pub(super) fn resting(&self) -> Option<StorageError> {
        self.0.lock().as_ref().filter(|failure| Instant::now() < failure.until).map(|failure| failure.error.clone())
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
