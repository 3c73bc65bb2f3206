//! Pictures from addresses, with a limit on everything that a stranger's server could stretch.
//!
//! Time, bytes, redirects, requests to one host at once and attempts are bounded. No request goes to a private,
//! loopback, link-local or multicast address unless that is allowed: the check ([`address`]) is made on the very
//! addresses that are connected to, at every redirect, so a name that changes its mind between two look-ups gains
//! nothing. No proxy is used, as it would connect where nothing here can look.

mod address;
mod agent;
mod crowd;
pub(crate) mod error;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::source::{Body, Failure, Found, Stage};
pub(crate) use agent::Fetcher;
pub use error::FetchError;

/// Limits of fetching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Let requests go to private, loopback, link-local and multicast addresses.
    pub allow_private_addresses: bool,
    /// Time for one attempt, from looking up the name to the last byte.
    pub timeout: Duration,
    /// Longest picture, in bytes.
    pub bytes_max: u64,
    /// Redirects that are followed.
    pub redirects_max: u32,
    /// Requests under way at once.
    pub requests_max: usize,
    /// Requests under way at once to one host.
    pub requests_per_host_max: usize,
    /// Attempts in all, where another one may help.
    pub attempts_max: u32,
    /// Wait before the second attempt; it doubles with each further one. A server's own wish (`Retry-After`) is
    /// followed up to [`FetchOptions::timeout`].
    pub wait: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            allow_private_addresses: false,
            timeout: Duration::from_secs(20),
            bytes_max: 64 << 20,
            redirects_max: 5,
            requests_max: 16,
            requests_per_host_max: 4,
            attempts_max: 3,
            wait: Duration::from_millis(500),
        }
    }
}

impl Fetcher {
    /// Puts bytes in the place of addresses, many at once; the order stays.
    pub(super) fn fetch_all(
        &self,
        records: Vec<Result<Found, Failure>>,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Vec<Result<Found, Failure>> {
        let url = |record: &Result<Found, Failure>| match record {
            Ok(Found { body: Body::Url(url), .. }) => Some(url.clone()),
            _ => None,
        };
        let urls: Vec<String> = records.iter().filter_map(url).collect();
        if urls.is_empty() {
            return records;
        }
        let mut fetched = crowd::fetch(self, &urls, cancelled).into_iter();
        let fill = |record: Result<Found, Failure>| match record {
            Ok(found) if matches!(found.body, Body::Url(_)) => match fetched.next() {
                Some(Ok(bytes)) => Ok(Found { body: Body::Bytes(bytes), ..found }),
                Some(Err(error)) => Err(Failure::new(Some(found.key), found.place, Stage::Fetch, error)),
                None => Ok(found),
            },
            other => other,
        };
        records.into_iter().map(fill).collect()
    }
}
