//! Why a picture could not be fetched.

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
