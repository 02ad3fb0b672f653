//! A request on its way into the channel.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hanzo_attestation::Digest384;
use hanzo_policy::PrivacyTier;
use hanzo_sealed::padding::{FILL_HEADER, LENGTH_HEADER, PADDING_HEADER, Padding, content_len, cut, length_value};
use hanzo_verifier::callers::{ApiKey, RequestLine, content_digest};
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::pinned::Pinned;
use crate::request_key::RequestSigner;

/// Header that names the owner of receipts, inside the channel.
pub const OWNER_HEADER: &str = "hanzo-owner";

/// Method, path, body and the headers that a guest reads: two of the body, and the API key or token of its caller. Nothing else of what
/// a program sends goes on: no address, no agent, no cookie, no key of another service.
#[derive(Clone)]
pub struct ChannelRequest {
    method: Method,
    path_and_query: String,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    /// `authorization`, marked as sensitive.
    api_key: Option<HeaderValue>,
    signer: Option<Arc<RequestSigner>>,
    minimum_tier: Option<PrivacyTier>,
    is_repeatable: bool,
    body: Bytes,
}

impl std::fmt::Debug for ChannelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChannelRequest({}, {} bytes)", self.method, self.body.len())
    }
}

impl ChannelRequest {
    /// A request with a body; `path_and_query` starts with `/`.
    pub fn new(method: Method, path_and_query: impl Into<String>, body: Bytes) -> Self {
        Self {
            method,
            path_and_query: path_and_query.into(),
            accept: None,
            content_type: None,
            api_key: None,
            signer: None,
            minimum_tier: None,
            is_repeatable: false,
            body,
        }
    }

    /// `GET path`.
    pub fn get(path_and_query: impl Into<String>) -> Self {
        Self::new(Method::GET, path_and_query, Bytes::new())
    }

    /// `POST path` with a JSON text.
    pub fn post_json(path_and_query: impl Into<String>, body: Bytes) -> Self {
        Self::new(Method::POST, path_and_query, body).with_content_type(HeaderValue::from_static("application/json"))
    }

    /// What the caller accepts.
    pub fn with_accept(mut self, value: HeaderValue) -> Self {
        self.accept = Some(value);
        self
    }

    /// What the body is.
    pub fn with_content_type(mut self, value: HeaderValue) -> Self {
        self.content_type = Some(value);
        self
    }

    /// Shows the guest whose request it is. Inside the channel alone: nobody but an attested guest sees it.
    pub fn with_api_key(self, key: &ApiKey) -> Self {
        self.with_bearer(bearer(key))
    }

    pub(crate) fn with_bearer(mut self, value: Option<HeaderValue>) -> Self {
        self.api_key = value;
        self
    }

    /// Signs it, each time it is sent, for the guest that it is sent to. Then no key or token goes with it.
    pub fn with_signer(mut self, signer: Arc<RequestSigner>) -> Self {
        self.signer = Some(signer);
        self.api_key = None;
        self
    }

    /// Asks nobody whose verdict is below `tier`, whatever the policy accepts.
    pub fn with_minimum_tier(mut self, tier: PrivacyTier) -> Self {
        self.minimum_tier = Some(tier);
        self
    }

    /// Lets the client ask once more where it cannot know that the first time was for nothing. Without it a request with a body
    /// is asked once: whoever carries it could make a guest answer, and the user pay, twice.
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable || self.method == Method::GET
    }

    /// Refuses a guest of a lower tier than this request asks for.
    pub(crate) fn check_tier(&self, pinned: &Pinned) -> Result<(), ClientError> {
        let got = pinned.result().tier();
        match self.minimum_tier {
            Some(asked) if got < asked => Err(ClientError::TierTooLow { asked, got }),
            _ => Ok(()),
        }
    }

    /// The exact bytes that a receipt commits to.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// True for a request whose answer has a receipt.
    pub(crate) fn is_chat(&self) -> bool {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        self.method == Method::POST && crate::call::RECEIPT_PATHS.contains(&path)
    }

    /// With its owner, and of a padded length as a message of HTTP/1.1 (`hanzo_sealed::padding`).
    pub(crate) fn into_padded_http(
        self,
        owner: HeaderValue,
        padding: Padding,
        keyset: &Digest384,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let content = self.body.clone();
        let mut request = self.into_http(keyset)?;
        request.headers_mut().insert(OWNER_HEADER, owner);
        if padding == Padding::Off {
            return Ok(request);
        }
        let headers = request.headers_mut();
        headers.insert(PADDING_HEADER, HeaderValue::from_static(padding.name()));
        if content.is_empty() {
            headers.insert(FILL_HEADER, HeaderValue::from_static(""));
            let bare = head_bytes(&request);
            let fill = "0".repeat(padding.padded(bare) - bare);
            let fill = HeaderValue::from_str(&fill).map_err(|_| UNPADDED)?;
            request.headers_mut().insert(FILL_HEADER, fill);
            return Ok(request);
        }
        let value = HeaderValue::from_str(&length_value(content.len())).map_err(|_| UNPADDED)?;
        headers.insert(LENGTH_HEADER, value);
        let len = content_len(padding, 0, head_bytes(&request), content.len());
        let mut filled = content.to_vec();
        filled.resize(len.max(content.len()), b' ');
        *request.body_mut() = Full::from(filled);
        Ok(request)
    }

    pub(crate) fn into_http(self, keyset: &Digest384) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri: Uri = self
            .path_and_query
            .parse()
            .ok()
            .filter(|u: &Uri| u.authority().is_none() && u.path().starts_with('/'))
            .ok_or(ClientError::Request {
                detail: "path: expected a path that starts with /",
            })?;
        let signed = match &self.signer {
            Some(signer) => signed(signer, &self.method, &uri, &self.body, keyset)?,
            None => Vec::new(),
        };
        let mut request = Request::new(Full::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("guest"));
        let own = [
            (ACCEPT, self.accept),
            (CONTENT_TYPE, self.content_type),
            (AUTHORIZATION, self.api_key),
        ];
        for (name, value) in own {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        headers.extend(signed);
        Ok(request)
    }
}

/// The headers of a signed request (`enclave/inference/ACCESS.md`).
fn signed(
    signer: &RequestSigner,
    method: &Method,
    uri: &Uri,
    body: &[u8],
    keyset: &Digest384,
) -> Result<Vec<(HeaderName, HeaderValue)>, ClientError> {
    const FAILED: ClientError = ClientError::Request {
        detail: "signature: the clock or the random source failed",
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| FAILED)?;
    let mut nonce = [0; 16];
    hanzo_pqc::random::fill(&mut nonce).map_err(|_| FAILED)?;
    let (digest, keyset) = (content_digest(body), keyset.to_string());
    let line = RequestLine {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query(),
        content_digest: &digest,
        keyset: &keyset,
    };
    let (input, signature) = signer.sign(&line, now.as_secs(), nonce).map_err(|_| FAILED)?;
    let all = [
        ("content-digest", digest.clone()),
        ("hanzo-keyset", keyset.clone()),
        ("signature-input", input),
        ("signature", signature),
    ];
    let all = all.map(|(name, value)| {
        let value = HeaderValue::from_str(&value).map_err(|_| FAILED)?;
        Ok((HeaderName::from_static(name), value))
    });
    all.into_iter().collect()
}

/// As a guest is shown it; its `Debug` shows nothing.
pub(crate) fn bearer(key: &ApiKey) -> Option<HeaderValue> {
    let text = Zeroizing::new(["Bearer ", &key.text()].concat());
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

const UNPADDED: ClientError = ClientError::Request {
    detail: "padding: its fields cannot be written",
};

/// Bytes of a head as hyper writes it, without `content-length`.
fn head_bytes(request: &Request<Full<Bytes>>) -> usize {
    let fields = request.headers().iter();
    let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let path = request.uri().path_and_query().map_or(1, |p| p.as_str().len());
    request.method().as_str().len() + path + "  HTTP/1.1\r\n\r\n".len() + fields
}

/// Refuses an answer that is padded less than was asked for: its length has told already, and the next one's will.
pub(crate) fn check_padding(asked: Padding, headers: &HeaderMap) -> Result<(), ClientError> {
    let got = headers.get(PADDING_HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
    let got: Padding = got.unwrap_or_default();
    match got < asked {
        true => Err(ClientError::NotPadded { asked, got }),
        false => Ok(()),
    }
}

/// An answer's content without the padding that its head states.
pub(crate) fn unpadded(headers: &HeaderMap, content: Bytes) -> Result<Bytes, ClientError> {
    match headers.get(LENGTH_HEADER) {
        Some(value) => Ok(content.slice(..cut(&content, value.as_bytes())?)),
        None => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn requests_have_few_lengths_and_say_where_their_content_ends() {
        let owner = HeaderValue::from_static("4f4f");
        for padding in [Padding::Blocks, Padding::PowerOfTwo] {
            for len in [0, 1, 99, 100, 350, 5_000] {
                let request = ChannelRequest::post_json("/v1/chat/completions", vec![b'x'; len].into());
                let http = request
                    .into_padded_http(owner.clone(), padding, &Digest384([0; 48]))
                    .unwrap();
                let head = head_bytes(&http);
                let (parts, body) = http.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let declared = match body.len() {
                    0 => 0,
                    n => format!("content-length: {n}\r\n").len(),
                };
                let total = head + declared + body.len();
                assert_eq!(padding.padded(total), total, "{padding} {len}");
                if len > 0 {
                    assert_eq!(unpadded(&parts.headers, body).unwrap(), vec![b'x'; len]);
                }
            }
        }
    }

    #[test]
    fn an_answer_that_is_padded_less_than_was_asked_for_is_refused() {
        let mut headers = HeaderMap::new();
        check_padding(Padding::Off, &headers).unwrap();
        let e = check_padding(Padding::Blocks, &headers).unwrap_err();
        assert_eq!((e.code(), e.may_have_left()), ("padding.not_followed", true));
        headers.insert(PADDING_HEADER, HeaderValue::from_static("512"));
        check_padding(Padding::Blocks, &headers).unwrap();
        assert!(check_padding(Padding::PowerOfTwo, &headers).is_err());
        headers.insert(LENGTH_HEADER, HeaderValue::from_static("0000000003"));
        let e = unpadded(&headers, Bytes::from_static(b"{}")).unwrap_err();
        assert_eq!(e.code(), "sealed.header");
    }
}
