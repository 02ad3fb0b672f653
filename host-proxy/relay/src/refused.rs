//! What the relay itself answers when it does not carry a request.

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::answer::Answer;

/// Why a request was not carried, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Not one of the paths, or a query where there is none.
    Path,
    /// Not a method of that path.
    Method,
    /// Not a sealed message.
    MediaType,
    /// Longer than the limit.
    TooLong,
    /// The client stopped sending.
    Slow,
    /// The client's request broke off.
    Broken,
    /// Too many requests are in flight.
    Busy,
    /// The gateway cannot be reached, broke off or does not speak HTTP as expected.
    Gateway,
    /// Whoever answers in the gateway's place has no certificate for it, or does not speak TLS 1.3.
    GatewayTls,
    /// The gateway did not answer in time.
    GatewaySlow,
}

impl Refused {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Path,
        Self::Method,
        Self::MediaType,
        Self::TooLong,
        Self::Slow,
        Self::Broken,
        Self::Busy,
        Self::Gateway,
        Self::GatewayTls,
        Self::GatewaySlow,
    ];

    /// Stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Path => "relay.path",
            Self::Method => "relay.method",
            Self::MediaType => "relay.media_type",
            Self::TooLong => "relay.too_long",
            Self::Slow => "relay.slow",
            Self::Broken => "relay.broken",
            Self::Busy => "relay.busy",
            Self::Gateway => "relay.gateway",
            Self::GatewayTls => "relay.gateway_tls",
            Self::GatewaySlow => "relay.gateway_slow",
        }
    }

    /// HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Path => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Gateway | Self::GatewayTls => StatusCode::BAD_GATEWAY,
            Self::GatewaySlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// A problem document (RFC 9457).
    pub(crate) fn response(self, allow: &'static str) -> Response<Answer> {
        let status = self.status();
        let body = format!(
            r#"{{"type":"about:blank","title":"{}","status":{},"code":"{}"}}"#,
            status.canonical_reason().unwrap_or_default(),
            status.as_u16(),
            self.code()
        );
        let mut response = Response::new(Answer::whole(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Self::Method {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
