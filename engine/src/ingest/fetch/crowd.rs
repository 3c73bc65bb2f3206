//! Many fetches at once, and never too many to one host.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex};

use super::FetchError;
use super::agent::Fetcher;

type Fetched = Result<Vec<u8>, FetchError>;

/// What the fetching threads share.
struct Crowd<'a> {
    fetcher: &'a Fetcher,
    urls: &'a [String],
    state: Mutex<State>,
    /// A host has a place free again.
    freed: Condvar,
}

struct State {
    /// Addresses that nobody fetches yet.
    waiting: Vec<usize>,
    /// Requests under way, by host.
    busy: HashMap<String, usize>,
    fetched: Vec<Option<Fetched>>,
}

/// The bytes at each of `urls`, in their order.
pub(super) fn fetch(fetcher: &Fetcher, urls: &[String], cancelled: &(dyn Fn() -> bool + Sync)) -> Vec<Fetched> {
    let fetched = urls.iter().map(|_| None).collect();
    let state = State { waiting: (0..urls.len()).rev().collect(), busy: HashMap::new(), fetched };
    let crowd = Crowd { fetcher, urls, state: Mutex::new(state), freed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..fetcher.options.requests_max.clamp(1, urls.len().max(1)) {
            scope.spawn(|| crowd.work(cancelled));
        }
    });
    let missed = || Err(FetchError::Failed { problem: "cancelled".into(), attempts: 0 });
    crowd.state.into_inner().fetched.into_iter().map(|fetched| fetched.unwrap_or_else(missed)).collect()
}

impl Crowd<'_> {
    /// Fetches until nothing waits.
    fn work(&self, cancelled: &(dyn Fn() -> bool + Sync)) {
        while let Some(at) = self.take() {
            let fetched = self.fetcher.fetch(&self.urls[at], cancelled);
            let mut state = self.state.lock();
            state.fetched[at] = Some(fetched);
            if let Some(busy) = state.busy.get_mut(host(&self.urls[at])) {
                *busy -= 1;
            }
            if cancelled() {
                state.waiting.clear();
            }
            drop(state);
            self.freed.notify_all();
        }
    }

    /// The first address whose host has a place free; waits for one. `None` when nothing waits.
    fn take(&self) -> Option<usize> {
        let mut state = self.state.lock();
        loop {
            if state.waiting.is_empty() {
                return None;
            }
            let limit = self.fetcher.options.requests_per_host_max.max(1);
            let free = |at: &usize| state.busy.get(host(&self.urls[*at])).is_none_or(|busy| *busy < limit);
            if let Some(place) = state.waiting.iter().rposition(free) {
                let at = state.waiting.remove(place);
                *state.busy.entry(host(&self.urls[at]).to_owned()).or_default() += 1;
                return Some(at);
            }
            self.freed.wait(&mut state);
        }
    }
}

/// The host and port of an address.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}
