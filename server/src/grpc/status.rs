//! The one place where an engine error becomes a gRPC status.

use std::collections::HashMap;

use fromagerie::{Error, ErrorKind};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `domain` of every ErrorInfo.
pub(super) const DOMAIN: &str = "fromagerie";

/// The status for `error`, with exactly one `ErrorInfo`.
pub(super) fn status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Busy => Code::Aborted,
        ErrorKind::Exhausted => Code::ResourceExhausted,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::DataLoss => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    };
    let details =
        ErrorDetails::with_error_info(error.reason(), DOMAIN, error.metadata().into_iter().collect::<HashMap<_, _>>());
    Status::with_error_details(code, error.to_string(), details)
}

/// A request that says less than it must.
pub(super) fn missing(field: &'static str, what: &str) -> Status {
    of_field("MISSING_FIELD", field, format!("`{field}` is missing: {what}"))
}

/// A request whose field says what it cannot.
pub(super) fn bad(field: &'static str, what: &str) -> Status {
    of_field("BAD_FIELD", field, format!("`{field}` cannot be used: {what}"))
}

fn of_field(reason: &str, field: &'static str, message: String) -> Status {
    let metadata = [("field".to_owned(), field.to_owned())];
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}
