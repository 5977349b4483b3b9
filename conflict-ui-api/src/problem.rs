//! Problem details (RFC 9457): the only mapping from what went wrong to HTTP. `docs/ERRORS.md` explains each code to whoever meets it.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sync_core::catalog::{Catalog, Table};
use sync_core::id::Key;
use sync_core::write::{Draft, FieldError};

use crate::api::records::shape::record_json;
use crate::error::BackendError;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, for a machine. Each has a section in `docs/ERRORS.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The code as it stands in `code` and in `type`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
            /// The status it is answered with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }
            /// The same few words for every problem of this code.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or not of the shape asked for.
    BadJson = "bad_json", BAD_REQUEST, "The body cannot be read";
    /// A parameter of the query is unknown or has a wrong value.
    BadQuery = "bad_query", BAD_REQUEST, "The query cannot be read";
    /// The cursor is damaged, or of another query.
    BadCursor = "bad_cursor", BAD_REQUEST, "The cursor is not of this list";
    /// No credential came, or it opens nothing.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A credential is needed";
    /// Name and password do not match.
    SignInFailed = "sign_in_failed", UNAUTHORIZED, "Sign-in failed";
    /// The role does not allow it.
    Forbidden = "forbidden", FORBIDDEN, "Not allowed";
    /// There is no such path.
    UnknownRoute = "unknown_route", NOT_FOUND, "There is nothing at this path";
    /// There is no such table.
    UnknownTable = "unknown_table", NOT_FOUND, "There is no such table";
    /// There is no such record, conflict, user or token.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// The path does not take this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The path does not take this method";
    /// A key or unique key is taken.
    Duplicate = "duplicate", CONFLICT, "Another row has the same key";
    /// Rows refer to the one that was to be deleted.
    Restricted = "restricted", CONFLICT, "Other rows refer to this one";
    /// A resolution was decided against another state.
    OutdatedResolution = "outdated_resolution", CONFLICT, "The conflict has changed since it was read";
    /// `If-Match` named another version.
    Stale = "stale", PRECONDITION_FAILED, "The record has changed since it was read";
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not `application/json`.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is not JSON";
    /// Fields are unknown, missing or of the wrong type.
    InvalidFields = "invalid_fields", UNPROCESSABLE_ENTITY, "Some fields cannot be written";
    /// A row referred to does not exist.
    BadReference = "bad_reference", UNPROCESSABLE_ENTITY, "A row referred to does not exist";
    /// A check of the database refused the row.
    CheckFailed = "check_failed", UNPROCESSABLE_ENTITY, "The database refused the row";
    /// A resolution that cannot be carried out.
    Undecidable = "undecidable", UNPROCESSABLE_ENTITY, "The resolution cannot be carried out";
    /// Too many requests.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// A fault of the server.
    Internal = "internal", INTERNAL_SERVER_ERROR, "A fault of the server";
    /// This server does not do that.
    Unsupported = "unsupported", NOT_IMPLEMENTED, "This server does not do that";
    /// Somebody else holds the rows.
    Busy = "busy", SERVICE_UNAVAILABLE, "The rows are busy";
    /// The server cannot serve now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The server cannot serve now";
    /// No number is left for the key of a new row.
    NoNumbers = "no_numbers", SERVICE_UNAVAILABLE, "No number is left for the new row";
    /// The request took too long.
    TimedOut = "timed_out", SERVICE_UNAVAILABLE, "The request took too long";
    /// A site's replica is not one that the cloud knows in this life.
    UnknownReplica = "unknown_replica", CONFLICT, "The cloud does not know this replica";
    /// The cloud lives another life than the site knows.
    CloudEpoch = "cloud_epoch", CONFLICT, "The cloud is not the one that the site knows";
    /// A cursor that this cloud never handed out.
    ForeignCursor = "foreign_cursor", CONFLICT, "The cursor is not of this cloud";
    /// A row that no message can carry.
    RowTooLarge = "row_too_large", CONFLICT, "A row is too large to travel";
}

/// One thing wrong with one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// A parameter of the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// For a machine.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

impl Fault {
    /// A fault of a field of the body.
    pub fn field(field: &str, code: &'static str, detail: impl Into<String>) -> Self {
        let pointer = format!("/{}", field.replace('~', "~0").replace('/', "~1"));
        Self { pointer: Some(pointer), parameter: None, code, detail: detail.into() }
    }

    /// The same fault where the field stands inside another part of the body.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { pointer: self.pointer.map(|pointer| format!("{outer}{pointer}")), ..self }
    }

    /// A fault of a parameter of the query.
    pub fn parameter(name: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.to_owned()), code, detail: detail.into() }
    }
}

/// A request that failed, as it is answered.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What.
    pub code: Code,
    /// What happened in this case, and what to do.
    pub detail: String,
    /// The parts of the request that are wrong.
    pub faults: Vec<Fault>,
    /// The state as it is now, where the request was made against another.
    pub current: Option<Box<Json>>,
    retry_after: Option<Duration>,
    challenge: Option<&'static str>,
}

/// What a handler returns.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem with its words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), faults: Vec::new(), current: None, retry_after: None, challenge: None }
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Names the parts that are wrong.
    #[must_use]
    pub fn because(self, faults: Vec<Fault>) -> Self {
        Self { faults, ..self }
    }

    /// A body whose fields are wrong.
    #[must_use]
    pub fn fields(faults: Vec<Fault>) -> Self {
        Self { detail: summary(&faults), faults, ..Self::new(Code::InvalidFields, "") }
    }

    /// A query whose parameters are wrong.
    #[must_use]
    pub fn query(faults: Vec<Fault>) -> Self {
        Self { detail: summary(&faults), faults, ..Self::new(Code::BadQuery, "") }
    }

    /// There is no such thing.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("There is no {what}."))
    }

    /// No credential; `came`: whether one came that opens nothing.
    #[must_use]
    pub fn unauthenticated(came: bool) -> Self {
        let (detail, challenge) = if came {
            ("The credential is unknown, revoked or has run out: sign in again.", "Bearer realm=\"rejoin\", error=\"invalid_token\"")
        } else {
            ("Sign in at /api/rejoin/sign-in and send `Authorization: Bearer <token>`.", "Bearer realm=\"rejoin\"")
        };
        Self { challenge: Some(challenge), ..Self::new(Code::Unauthenticated, detail) }
    }

    /// Too often.
    #[must_use]
    pub fn rate_limited(detail: impl Into<String>, wait: Duration) -> Self {
        Self::new(Code::RateLimited, detail).retry_after(wait)
    }

    /// A failure of a use case on a record of this table: names are the API's, a row that is not there is named, and a stale record is shown
    /// as it is now.
    #[must_use]
    pub fn of_record(error: BackendError, catalog: &Catalog, table: &Table, draft: Option<&Draft>) -> Self {
        let name = |column: &str| catalog.field_named(table, column);
        match error {
            BackendError::Duplicate { columns, .. } => {
                let names: Vec<_> = columns.iter().map(|column| name(column)).collect();
                let faults = names.iter().map(|name| Fault::field(name, "duplicate", "taken by another row")).collect();
                let detail = format!("Another row of {} has the same {}.", table.path, names.join(", "));
                Self::new(Code::Duplicate, detail).because(faults)
            }
            BackendError::BadReference { column, target } => {
                let columns: Vec<_> = column.split(", ").collect();
                let names: Vec<_> = columns.iter().map(|column| name(column)).collect();
                let value = |column: &&str| table.column_named(column).and_then(|column| draft?.get(&column.no)).cloned();
                // As much of the missing row's key as was given.
                let missing: Option<Vec<_>> = columns.iter().map(value).collect();
                let missing = missing.map_or_else(String::new, |values| format!(" {}", Key(values)));
                let faults = names.iter().map(|name| Fault::field(name, "reference", format!("there is no {target}{missing}"))).collect();
                let detail = format!("{} names {target}{missing}, which does not exist.", names.join(", "));
                Self::new(Code::BadReference, detail).because(faults)
            }
            BackendError::Stale(record) => {
                let detail = "Read the record again (`current` is how it is now), decide again, and send its new ETag in If-Match.";
                Self { current: Some(Box::new(record_json(catalog, table, &record, false))), ..Self::new(Code::Stale, detail) }
            }
            other => other.into(),
        }
    }
}

/// The faults in a sentence each, with the field where it is one.
fn summary(faults: &[Fault]) -> String {
    let sentence = |fault: &Fault| match &fault.pointer {
        Some(pointer) => format!("{}: {}.", pointer.trim_start_matches('/'), fault.detail),
        None => format!("{}.", fault.detail),
    };
    faults.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

/// An error's own words as a sentence.
fn sentence(error: &BackendError) -> String {
    let words = error.to_string();
    let mut letters = words.chars();
    let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{capital}{}.", letters.as_str())
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::field(&error.field, error.code, error.detail)
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        let words = sentence(&error);
        match error {
            BackendError::NotFound(_) => Self::new(Code::NotFound, words),
            BackendError::Invalid(errors) => Self::fields(errors.into_iter().map(Into::into).collect()),
            BackendError::Duplicate { .. } => Self::new(Code::Duplicate, words),
            BackendError::BadReference { .. } => Self::new(Code::BadReference, words),
            BackendError::Restricted { .. } => Self::new(Code::Restricted, words),
            BackendError::Check(_) => Self::new(Code::CheckFailed, words),
            BackendError::Stale(_) => Self::new(Code::Stale, words),
            BackendError::Outdated(conflict) => {
                let detail = "Read the conflict again (`current` is how it is now) and decide again.";
                Self { current: serde_json::to_value(conflict).ok().map(Box::new), ..Self::new(Code::OutdatedResolution, detail) }
            }
            BackendError::Miscounted { matched, .. } => {
                Self { current: Some(Box::new(json!({ "matched": matched }))), ..Self::new(Code::OutdatedResolution, words) }
            }
            BackendError::Undecidable(_) => Self::new(Code::Undecidable, words),
            BackendError::Forbidden(_) => Self::new(Code::Forbidden, words),
            BackendError::Unsupported(_) => Self::new(Code::Unsupported, words),
            BackendError::Busy => Self::new(Code::Busy, words).retry_after(Duration::from_secs(1)),
            BackendError::NoNumbers(_) => Self::new(Code::NoNumbers, words).retry_after(Duration::from_secs(60)),
            BackendError::Unavailable(_) => Self::new(Code::Unavailable, words).retry_after(Duration::from_secs(5)),
            BackendError::Internal(source) => {
                tracing::error!(error = ?source, "a request failed");
                Self::new(Code::Internal, "The fault is in the server's log under this request's id.")
            }
        }
    }
}

/// What a problem is part of; known only outside the handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context<'a> {
    pub(crate) instance: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
}

impl Problem {
    /// The body.
    pub(crate) fn body(&self, context: &Context<'_>) -> Json {
        let mut body = json!({
            "type": format!("/docs/errors#{}", self.code.as_str()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "detail": self.detail,
            "code": self.code.as_str(),
        });
        let mut add = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        add("instance", context.instance.map(Into::into));
        add("requestId", context.request_id.map(Into::into));
        add("errors", (!self.faults.is_empty()).then(|| json!(self.faults)));
        add("current", self.current.as_deref().cloned());
        body
    }

    /// The body where the request it belongs to is known anyhow: in the answer's own stream.
    pub(crate) fn alone(&self) -> Json {
        self.body(&Context::default())
    }

    pub(crate) fn respond(self, context: &Context<'_>) -> Response {
        let mut response = (self.code.status(), self.body(context).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut add = |name: HeaderName, value: Option<HeaderValue>| drop(value.map(|value| headers.insert(name, value)));
        add(header::WWW_AUTHENTICATE, self.challenge.map(HeaderValue::from_static));
        add(header::RETRY_AFTER, self.retry_after.map(|wait| HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))));
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(&Context::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_section_in_the_page_of_errors() {
        let page = include_str!("../../docs/ERRORS.md");
        let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(sections, codes, "docs/ERRORS.md has one section for each code, in the order of `Code`");
    }

    #[test]
    fn a_pointer_is_escaped() {
        assert_eq!(Fault::field("a/b~c", "type", "x").pointer.unwrap(), "/a~1b~0c");
    }

    #[test]
    fn the_words_of_an_internal_fault_stay_inside() {
        let problem = Problem::from(BackendError::internal("SELECT secret FROM users"));
        assert!(!problem.body(&Context::default()).to_string().contains("SELECT"));
    }
}
