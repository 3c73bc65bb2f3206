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
