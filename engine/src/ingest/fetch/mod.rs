//! Pictures from addresses, with a limit on everything that a stranger's server could stretch.
//!
//! Time, bytes, redirects, requests to one host at once and attempts are bounded. No request goes to a private,
//! loopback, link-local or multicast address unless that is allowed: the check ([`address`]) is made on the very
//! addresses that are connected to, at every redirect, so a name that changes its mind between two look-ups gains
//! nothing. No proxy is used, as it would connect where nothing here can look.

mod address;
mod agent;
mod crowd;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::source::{Body, Failure, Found, Stage};
pub(super) use agent::Fetcher;

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

/// Why a picture could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No address that could be asked.
    #[error("no address to fetch from: {problem}")]
    BadAddress {
        /// Why.
        problem: String,
    },
    /// The name, or a redirect, leads to an address that is not on the public network.
    #[error(
        "{host} is at {address}, which is not on the public network; --allow-private-addresses fetches it all the same"
    )]
    PrivateAddress {
        /// The host asked for.
        host: String,
        /// Where it is.
        address: std::net::IpAddr,
    },
    /// The server answered that it has or gives no picture.
    #[error("the server answered {status}, {attempts} times")]
    Status {
        /// The answer.
        status: u16,
        /// How often it was asked.
        attempts: u32,
    },
    /// More redirects than are followed.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// How many are followed.
        limit: u32,
    },
    /// More bytes than are read.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// How many are read.
        limit: u64,
    },
    /// The server took too long.
    #[error("no whole answer within {seconds} s, {attempts} times")]
    Timeout {
        /// Time that an attempt has.
        seconds: u64,
        /// How often it was asked.
        attempts: u32,
    },
    /// The connection could not be made, or broke.
    #[error("{problem}, {attempts} times")]
    Failed {
        /// What the system said.
        problem: String,
        /// How often it was tried.
        attempts: u32,
    },
}

impl FetchError {
    /// A word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            FetchError::BadAddress { .. } => "BAD_ADDRESS",
            FetchError::PrivateAddress { .. } => "PRIVATE_ADDRESS",
            FetchError::Status { .. } => "FETCH_STATUS",
            FetchError::TooManyRedirects { .. } => "TOO_MANY_REDIRECTS",
            FetchError::TooLarge { .. } => "FETCH_TOO_LARGE",
            FetchError::Timeout { .. } => "FETCH_TIMEOUT",
            FetchError::Failed { .. } => "FETCH_FAILED",
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
