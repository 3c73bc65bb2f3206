//! The bearer token that calls must carry, when the server has one. Health needs none.

use tonic::{Request, Status, service::Interceptor};
use tonic_types::{ErrorDetails, StatusExt};

use super::status::DOMAIN;

/// Lets calls through that carry the token.
#[derive(Clone)]
pub(super) struct Guard {
    expected: Option<String>,
}

impl Guard {
    pub(super) fn new(token: Option<String>) -> Guard {
        Guard { expected: token.map(|token| format!("Bearer {token}")) }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization").map(|v| v.as_bytes());
        match &self.expected {
            Some(expected) if !given.is_some_and(|g| same(g, expected.as_bytes())) => {
                let details = ErrorDetails::with_error_info("UNAUTHENTICATED", DOMAIN, []);
                let message = "this server asks for a token: send metadata `authorization: Bearer TOKEN`";
                Err(Status::with_error_details(tonic::Code::Unauthenticated, message, details))
            }
            _ => Ok(request),
        }
    }
}

/// Takes as long for a near miss as for a far one.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
}
