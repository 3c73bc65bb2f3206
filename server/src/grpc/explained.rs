//! Refusals from below our services (bytes that are no message, a message that is too large, a method that is not there, a
//! deadline) leave without an `ErrorInfo`: here they get theirs, so that every error has exactly one.

use tonic::codegen::http::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::status::DOMAIN;

/// The same answer; a refusal without details gets them.
pub(super) fn explained<B>(mut response: Response<B>) -> Response<B> {
    let status = Status::from_header_map(response.headers());
    if let Some(bare) = status.filter(|status| status.code() != Code::Ok && status.details().is_empty()) {
        let details = ErrorDetails::with_error_info(reason(&bare), DOMAIN, []);
        let whole = Status::with_error_details(bare.code(), bare.message(), details);
        // What does not fit a header leaves the answer as it was.
        let _ = whole.add_header(response.headers_mut());
    }
    response
}

fn reason(status: &Status) -> &'static str {
    match status.code() {
        Code::Internal if status.message().contains("decode") => "BAD_MESSAGE",
        Code::OutOfRange | Code::ResourceExhausted => "MESSAGE_TOO_LARGE",
        Code::Unimplemented => "UNKNOWN_METHOD",
        Code::Cancelled | Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "UNKNOWN_SERVICE",
        _ => "REFUSED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_refusal_gets_one_error_info_and_nothing_else_changes() {
        let headers = |status: Status| {
            let mut response = Response::new(());
            status.add_header(response.headers_mut()).expect("a header");
            response
        };
        let bare = explained(headers(Status::out_of_range("too large: \u{e9}")));
        let status = Status::from_header_map(bare.headers()).expect("a status");
        assert_eq!((status.code(), status.message()), (Code::OutOfRange, "too large: \u{e9}"));
        let info = status.get_details_error_info().expect("one");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("MESSAGE_TOO_LARGE", DOMAIN));
        let ours = super::super::status::missing("alias", "a name");
        let ours = explained(headers(ours));
        let status = Status::from_header_map(ours.headers()).expect("a status");
        assert_eq!(status.get_details_error_info().expect("one").reason, "MISSING_FIELD");
        assert!(explained(Response::new(())).headers().is_empty());
    }
}
