//! Keys and values of the conversations of this process: in bounded memory, the least recently used going first.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use parking_lot::Mutex;

use super::live::LiveContext;
use crate::error::{Error, Result};

/// Keys and values of the conversations of this process.
pub(crate) struct HeldContexts {
    bytes_max: usize,
    by_session: Mutex<HashMap<String, Held>>,
    busy: Mutex<HashSet<String>>,
}

struct Held {
    live: LiveContext,
    used: Instant,
}

impl HeldContexts {
    pub(crate) fn new(bytes_max: usize) -> HeldContexts {
        HeldContexts { bytes_max, by_session: Mutex::default(), busy: Mutex::default() }
    }

    pub(crate) fn take(&self, name: &str) -> Option<LiveContext> {
        self.by_session.lock().remove(name).map(|held| held.live)
    }

    /// Keeps what a conversation has read, unless that alone is more than is allowed.
    pub(crate) fn keep(&self, name: &str, live: LiveContext) {
        if live.bytes() > self.bytes_max {
            return self.forget(name);
        }
        let mut contexts = self.by_session.lock();
        contexts.insert(name.to_owned(), Held { live, used: Instant::now() });
        while contexts.values().map(|h| h.live.bytes()).sum::<usize>() > self.bytes_max {
            let Some(oldest) = contexts.iter().min_by_key(|(_, h)| h.used).map(|(name, _)| name.clone()) else { break };
            contexts.remove(&oldest);
        }
    }

    pub(crate) fn forget(&self, name: &str) {
        self.by_session.lock().remove(name);
    }

    pub(crate) fn claim(&self, name: &str) -> Result<Claim<'_>> {
        if !self.busy.lock().insert(name.to_owned()) {
            return Err(Error::SessionBusy { name: name.to_owned() });
        }
        Ok(Claim { contexts: self, name: name.to_owned() })
    }
}

/// The right to change one session, given back when dropped.
pub(crate) struct Claim<'s> {
    contexts: &'s HeldContexts,
    name: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.contexts.busy.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use fromagerie_models::FakeModel;

    use super::*;
    use crate::dialogue::context::Atom;
    use crate::dialogue::live::prefill;

    fn read(model: &FakeModel, positions: usize) -> LiveContext {
        let mut live = LiveContext::new(model);
        prefill(model, &mut live, &vec![Atom::Token(100); positions]).unwrap();
        live
    }

    impl HeldContexts {
        fn bytes(&self) -> usize {
            self.by_session.lock().values().map(|held| held.live.bytes()).sum()
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let model = FakeModel::new();
        let contexts = HeldContexts::new(3 * read(&model, 10).bytes());
        for name in ["a", "b", "c"] {
            contexts.keep(name, read(&model, 10));
        }
        let used = contexts.take("a").unwrap();
        contexts.keep("a", used);
        contexts.keep("d", read(&model, 10));
        assert!(contexts.take("b").is_none(), "nothing is used longer ago");
        assert!(["a", "c", "d"].iter().all(|name| contexts.take(name).is_some_and(|live| live.len() == 10)));
    }

    #[test]
    fn many_sessions_never_hold_more_than_is_allowed() {
        let model = FakeModel::new();
        let bytes_max = 50 * read(&model, 1).bytes();
        let contexts = HeldContexts::new(bytes_max);
        for number in 0..500 {
            contexts.keep(&format!("session-{}", number % 90), read(&model, 1 + number * 7 % 60));
            assert!(contexts.bytes() <= bytes_max, "{} bytes after {number}", contexts.bytes());
        }
        assert!(contexts.bytes() >= 21 * bytes_max / 50, "what fits is kept: the last two, of 7 and 14 positions");
        let before = contexts.bytes();
        contexts.keep("too large", read(&model, 51));
        assert!(contexts.take("too large").is_none() && contexts.bytes() == before, "the others stay");
    }
}
