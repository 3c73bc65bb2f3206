//! One address after another through an HTTP client, with its limits and another attempt where one may help.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Response, Uri, header::RETRY_AFTER};
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error};

use super::{FetchError, FetchOptions, address};

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// A client with its limits.
pub(crate) struct Fetcher {
    agent: Agent,
    pub(super) options: FetchOptions,
}

/// What came of one attempt.
enum Attempt {
    Bytes(Vec<u8>),
    /// Another attempt would end the same.
    Given(FetchError),
    /// Another one may help, after what the server wishes.
    Again(Option<Duration>, Box<dyn Fn(u32) -> FetchError>),
}

impl Fetcher {
    pub(crate) fn new(options: FetchOptions) -> Fetcher {
        let allowed = if options.allow_private_addresses { |_| true } else { address::is_public };
        Fetcher::with_allowed(options, allowed)
    }

    /// A client that connects to `allowed` addresses only.
    pub(super) fn with_allowed(options: FetchOptions, allowed: fn(IpAddr) -> bool) -> Fetcher {
        let config = Config::builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(options.redirects_max)
            .max_response_header_size(HEAD_BYTES_MAX)
            .timeout_global(Some(options.timeout))
            .tls_config(TlsConfig::builder().provider(TlsProvider::Rustls).build())
            .user_agent(concat!("fromagerie/", env!("CARGO_PKG_VERSION")))
            .accept("image/*")
            .build();
        let resolver = Checked { inner: DefaultResolver::default(), allowed };
        Fetcher { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), options }
    }

    /// The bytes at `url`.
    pub(super) fn fetch(&self, url: &str, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Vec<u8>, FetchError> {
        let mut wait = self.options.wait;
        for attempt in 1.. {
            match self.attempt(url) {
                Attempt::Bytes(bytes) => return Ok(bytes),
                Attempt::Given(error) => return Err(error),
                Attempt::Again(_, error) if attempt >= self.options.attempts_max || cancelled() => {
                    return Err(error(attempt));
                }
                Attempt::Again(wished, _) => std::thread::sleep(wished.unwrap_or(wait).min(self.options.timeout)),
            }
            wait *= 2;
        }
        Err(FetchError::BadAddress { problem: "no attempt is allowed".into() })
    }

    fn attempt(&self, url: &str) -> Attempt {
        let mut response = match self.agent.get(url).call() {
            Ok(response) => response,
            Err(error) => return self.failed(error),
        };
        match response.status().as_u16() {
            200 => {}
            status @ (408 | 425 | 429 | 500 | 502 | 503 | 504) => {
                let error = move |attempts| FetchError::Status { status, attempts };
                return Attempt::Again(retry_after(&response), Box::new(error));
            }
            status => return Attempt::Given(FetchError::Status { status, attempts: 1 }),
        }
        match response.body_mut().with_config().limit(self.options.bytes_max).read_to_vec() {
            Ok(bytes) => Attempt::Bytes(bytes),
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: Error) -> Attempt {
        let given = |error| Attempt::Given(error);
        let seconds = self.options.timeout.as_secs();
        match error {
            Error::BadUri(problem) => given(FetchError::BadAddress { problem }),
            Error::Http(error) => given(FetchError::BadAddress { problem: error.to_string() }),
            Error::TooManyRedirects => given(FetchError::TooManyRedirects { limit: self.options.redirects_max }),
            Error::BodyExceedsLimit(limit) => given(FetchError::TooLarge { limit }),
            Error::Timeout(_) => {
                Attempt::Again(None, Box::new(move |attempts| FetchError::Timeout { seconds, attempts }))
            }
            Error::Io(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                Attempt::Again(None, Box::new(move |attempts| FetchError::Timeout { seconds, attempts }))
            }
            Error::Other(error) => match error.downcast::<FetchError>() {
                Ok(error) => given(*error),
                Err(error) => again(error.to_string()),
            },
            other => again(other.to_string()),
        }
    }
}

fn again(problem: String) -> Attempt {
    Attempt::Again(None, Box::new(move |attempts| FetchError::Failed { problem: problem.clone(), attempts }))
}

/// What a server asks to be waited for, when it says so in seconds.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Looks names up, and gives out only addresses that may be connected to.
#[derive(Debug)]
struct Checked {
    inner: DefaultResolver,
    allowed: fn(IpAddr) -> bool,
}

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        found.iter().filter(|found| (self.allowed)(found.ip())).for_each(|found| kept.push(*found));
        match found.iter().next() {
            Some(first) if kept.is_empty() => {
                let host = uri.host().unwrap_or_default().to_owned();
                Err(Error::Other(Box::new(FetchError::PrivateAddress { host, address: first.ip() })))
            }
            _ => Ok(kept),
        }
    }
}
