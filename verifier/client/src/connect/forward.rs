//! `/v1/…` to the guest, whichever way. Of the program's headers only `accept` and `content-type` go on, and an API key or a
//! token of a guest's caller; keys of other services do not. Of the guest's only those listed here come back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hanzo_policy::PrivacyTier;
use hanzo_verifier::callers::{ApiKey, TOKEN_BYTES_MAX, is_token};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use zeroize::Zeroizing;

use super::guard::Guard;
use super::{Endpoint, problem, read_access_token, stream};
use crate::call::RECEIPT_ID_HEADER;
use crate::receipts::ReceiptStatus;
use crate::request::{ChannelRequest, bearer};

/// How the receipt of an answer came out: `verified`, `missing` or a code. Streams say it in a comment instead.
pub(crate) const RECEIPT_STATUS_HEADER: &str = "hanzo-receipt-status";

/// The least tier that this one request may go to. It says so here, and goes no further.
const MINIMUM_TIER_HEADER: &str = "hanzo-min-tier";

const PASSED_BACK: [HeaderName; 22] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    header::ALLOW,
    HeaderName::from_static(RECEIPT_ID_HEADER),
    // What clients show of an answer: its name, and the caller's own share.
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
    HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
    HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
    HeaderName::from_static("x-should-retry"),
    header::WWW_AUTHENTICATE,
    // For programs that speak ACI.
    HeaderName::from_static("x-receipt-id"),
    HeaderName::from_static("x-aci-version"),
    HeaderName::from_static("x-aci-keyset-digest"),
];

pub(crate) async fn forward(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read_body(body, endpoint.body_bytes_max).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let mut request = ChannelRequest::new(parts.method, path, body.clone());
    if let Some(value) = parts.headers.get(header::ACCEPT) {
        request = request.with_accept(value.clone());
    }
    if let Some(value) = parts.headers.get(header::CONTENT_TYPE) {
        request = request.with_content_type(value.clone());
    }
    let shown = || {
        let key = shown_key(&parts.headers);
        key.as_ref()
            .and_then(bearer)
            .or_else(|| shown_token(&parts.headers, &endpoint.guard))
    };
    let access_token = endpoint.access_token_file.as_deref().map(read_access_token);
    request = match (&endpoint.request_signer, access_token) {
        (Some(signer), _) => request.with_signer(signer.clone()),
        (None, Some(Ok(token))) => request.with_bearer(Some(token)),
        // Nothing stands in for what was to say whose request it is.
        (None, Some(Err(e))) => {
            tracing::error!(code = e.code(), "request not sent: {e}");
            return problem::openai(StatusCode::SERVICE_UNAVAILABLE, e.code(), &e.to_string());
        }
        (None, None) => request.with_bearer(endpoint.api_key.clone().or_else(shown)),
    };
    match minimum_tier(&parts.headers) {
        Ok(Some(tier)) => request = request.with_minimum_tier(tier),
        Ok(None) => {}
        Err(answer) => return *answer,
    }
    let is_chat = request.is_chat();
    let answer = match endpoint.client.send(request).await {
        Ok(answer) => answer,
        Err(e) => {
            tracing::error!(code = e.code(), "request not answered: {e}");
            return problem::of(&e);
        }
    };
    if is_event_stream(answer.headers()) {
        let head = back(answer.status(), answer.headers());
        let frames = stream::checked(endpoint.client.clone(), answer, body, is_chat);
        return head.map(|()| Body::from_stream(frames));
    }
    match endpoint.client.whole(answer, is_chat, &body).await {
        Ok(answer) => {
            let mut head = back(answer.status, &answer.headers);
            if let Some(status) = &answer.receipt {
                head.headers_mut().insert(RECEIPT_STATUS_HEADER, word(status));
            }
            head.map(|()| Body::from(answer.body))
        }
        Err(e) => {
            tracing::error!(code = e.code(), "answer broke off: {e}");
            problem::of(&e)
        }
    }
}

/// The key of a guest's caller that a program shows, as OpenAI's or Anthropic's clients do. Whatever is no such key stays here: a
/// program may have one of another service at hand.
fn shown_key(headers: &HeaderMap) -> Option<ApiKey> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let plain = headers.get_all("x-api-key").iter().map(HeaderValue::as_bytes);
    bearer.chain(plain).find_map(ApiKey::parse)
}

/// A token of an identity provider, if the program sends one. Where programs show this endpoint a token of its own in
/// `authorization`, that header is never passed on.
fn shown_token(headers: &HeaderMap, guard: &Guard) -> Option<HeaderValue> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let bearer = bearer.filter(|_| !guard.asks_for_token());
    let plain = headers.get_all("x-api-key").iter().map(HeaderValue::as_bytes);
    bearer.chain(plain).find_map(token)
}

/// `authorization` with a token of an identity provider, if that is what it is.
pub(crate) fn token(token: &[u8]) -> Option<HeaderValue> {
    // `eyJ` begins every JSON object in base64url.
    let is_text = token.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    if token.len() > TOKEN_BYTES_MAX || !token.starts_with(b"eyJ") || !is_text || !is_token(token) {
        return None;
    }
    let text = Zeroizing::new([b"Bearer ", token].concat());
    let mut value = HeaderValue::from_bytes(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What the program asks for by `hanzo-min-tier`, if it does. A wish that cannot be read is not passed over.
fn minimum_tier(headers: &HeaderMap) -> Result<Option<PrivacyTier>, Box<Response>> {
    let mut values = headers.get_all(MINIMUM_TIER_HEADER).iter();
    let tier = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(|v| v.parse::<u8>().ok()),
        (Some(_), Some(_)) => None,
    };
    let tier = tier.and_then(|tier| PrivacyTier::try_from(tier).ok());
    tier.map(Some).ok_or_else(|| {
        Box::new(problem::openai(
            StatusCode::BAD_REQUEST,
            "connect.min_tier",
            "hanzo-min-tier: expected one number of 0 to 4",
        ))
    })
}

async fn read_body(body: Body, limit: usize) -> Result<Bytes, Response> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(problem::openai(
            StatusCode::PAYLOAD_TOO_LARGE,
            "connect.body_too_large",
            &format!("request body: more than {limit} bytes"),
        )),
        Err(_) => Err(problem::openai(
            StatusCode::BAD_REQUEST,
            "connect.body",
            "request body: the connection ended before it was complete",
        )),
    }
}

fn word(status: &ReceiptStatus) -> HeaderValue {
    HeaderValue::from_static(status.word())
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| {
            v.split(';')
                .next()
                .is_some_and(|t| t.trim().eq_ignore_ascii_case("text/event-stream"))
        })
}

fn back(status: StatusCode, headers: &HeaderMap) -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    for name in PASSED_BACK {
        if let Some(value) = headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
