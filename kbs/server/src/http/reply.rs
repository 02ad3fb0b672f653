//! Error replies: `ErrorInformation` of RCAR with our stable code beside it.

use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hanzo_attestation::evidence::Class;
use hanzo_kbs_protocol::{ERROR_TYPE_PREFIX, WireError};
use hanzo_vault::Refusal;
use hanzo_verifier::VerifyError;

use crate::KbsError;
use crate::admin::AdminRefusal;
use crate::broker::{Denied, NotAttested};
use crate::sessions::SessionRefusal;

/// `{"code","detail","type"}`. Peers who proved nothing get class and code; the log has the rest.
pub(crate) struct Problem {
    status: StatusCode,
    name: &'static str,
    code: String,
    detail: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, name: &'static str, code: &str) -> Self {
        Self {
            status,
            name,
            code: code.to_owned(),
            detail: None,
        }
    }

    pub(crate) fn with_detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    pub(super) fn body(e: &BytesRejection) -> Self {
        match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "kbs.body.too_large")
            }
            _ => Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", "kbs.body.unreadable"),
        }
    }

    pub(super) fn session(refusal: SessionRefusal) -> Self {
        let status = match refusal {
            SessionRefusal::Full | SessionRefusal::Exhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, "Session", refusal.code()).with_detail(refusal.to_string())
    }

    pub(super) fn verify(e: &VerifyError) -> Self {
        let status = match e.class() {
            Class::Malformed => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        Self::new(status, class_name(e.class()), e.code())
    }

    pub(super) fn denied(denied: &Denied) -> Self {
        match denied {
            Denied::Refused(Refusal::Evidence(e)) => {
                tracing::warn!(target: "hanzo_kbs::release", code = e.code(), why = %e, "refused");
                Self::verify(e)
            }
            Denied::Refused(refusal @ Refusal::Unknown { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "PluginNotFound", refusal.code())
            }
            Denied::Refused(refusal) => Self::new(StatusCode::FORBIDDEN, "PolicyDeny", refusal.code()),
            Denied::Release(e) => Self::internal(e),
            Denied::Broker(e) => Self::broker(e),
        }
    }

    pub(super) fn admin(refusal: &AdminRefusal) -> Self {
        let (status, name) = match refusal {
            AdminRefusal::Malformed(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            AdminRefusal::NotPinned | AdminRefusal::Signature(_) => (StatusCode::UNAUTHORIZED, "AdminAuth"),
            AdminRefusal::Version { .. }
            | AdminRefusal::Replayed
            | AdminRefusal::Rotating { .. }
            | AdminRefusal::ProposalDone
            | AdminRefusal::ProposalOutdated => (StatusCode::CONFLICT, "AdminConflict"),
            AdminRefusal::UnknownKey { .. } | AdminRefusal::NoTenant { .. } | AdminRefusal::NoProposal => {
                (StatusCode::NOT_FOUND, "AdminNotFound")
            }
            AdminRefusal::TooManyProposals { .. } => (StatusCode::TOO_MANY_REQUESTS, "AdminRefused"),
            AdminRefusal::Broker(e) => return Self::broker(e),
            _ => (StatusCode::FORBIDDEN, "AdminRefused"),
        };
        let problem = Self::new(status, name, refusal.code());
        match refusal.to_admin() {
            true => problem.with_detail(refusal.to_string()),
            false => problem,
        }
    }

    /// What went wrong within, in so far as whoever waits can know it: a store that is not the newest, does not answer, or has
    /// no room.
    pub(super) fn broker(e: &KbsError) -> Self {
        let (status, name) = match e.code() {
            "store.rolled_back" | "store.connection" | "store.busy" => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
            "store.disk_full" => (StatusCode::INSUFFICIENT_STORAGE, "StoreFull"),
            _ => return Self::internal(e),
        };
        tracing::error!(target: "hanzo_kbs", error = %e);
        Self::new(status, name, e.code())
    }

    pub(super) fn internal(e: &dyn std::error::Error) -> Self {
        tracing::error!(target: "hanzo_kbs", error = %e);
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "kbs.internal")
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Malformed => "Malformed",
        Class::NotAuthentic => "NotAuthentic",
        Class::Unbound => "Unbound",
        Class::Refused => "PolicyDeny",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "code": self.code,
            "detail": self.detail.unwrap_or_else(|| format!("{}: {}", self.name, self.code)),
            "type": format!("{ERROR_TYPE_PREFIX}{}", self.name),
        });
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

impl Problem {
    /// Evidence that fails before a key is asked for is no decision about a key: it has a line in the log and none in the
    /// audit chain, which strangers could otherwise fill.
    pub(super) fn not_attested(e: &NotAttested) -> Self {
        let problem = match e {
            NotAttested::Wire(e) => Self::wire(e),
            NotAttested::Evidence(e) => Self::verify(e),
            NotAttested::Session(e) => Self::new(StatusCode::FORBIDDEN, "Unbound", e.code()),
            NotAttested::Broker(e) => return Self::broker(e),
        };
        tracing::warn!(target: "hanzo_kbs::attest", code = problem.code, why = %e, "refused");
        problem
    }

    /// The wire's own texts name no secret and quote no input.
    pub(super) fn wire(e: &WireError) -> Self {
        let (status, name) = match e {
            WireError::Version => (StatusCode::UNAUTHORIZED, "ProtocolVersion"),
            WireError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            _ => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        };
        Self::new(status, name, e.code()).with_detail(e.to_string())
    }
}
