//! What of a request says whose it is: its head.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use hanzo_verifier::callers::{RequestError, RequestLine, RequestSignature, content_digest};

use crate::error::ApiError;

/// A request's head.
pub(crate) struct Asking {
    pub(crate) headers: HeaderMap,
    method: Method,
    uri: Uri,
}

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            headers: parts.headers.clone(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
        })
    }
}

/// What has to be so of a body that has not come yet.
#[derive(Clone, Default)]
pub(crate) struct Promise(Option<String>);

impl Promise {
    /// Compares it.
    pub(crate) fn keep(&self, body: &[u8]) -> Result<(), ApiError> {
        match &self.0 {
            Some(promised) if *promised != content_digest(body) => Err(ApiError::Signed(RequestError::Digest)),
            _ => Ok(()),
        }
    }
}

impl Asking {
    /// The signatures, if there are any: then they say whose request it is, and no key or token does.
    pub(super) fn signature(&self) -> Result<Option<RequestSignature>, RequestError> {
        if !self.headers.contains_key("signature-input") && !self.headers.contains_key("signature") {
            return Ok(None);
        }
        RequestSignature::parse(self.one("signature-input")?, self.one("signature")?).map(Some)
    }

    /// What they have to be over.
    pub(super) fn line(&self) -> Result<RequestLine<'_>, RequestError> {
        let text = |value| std::str::from_utf8(value).ok().filter(|text: &&str| text.is_ascii());
        let (digest, keyset) = (text(self.one("content-digest")?), text(self.one("hanzo-keyset")?));
        let (Some(content_digest), Some(keyset)) = (digest, keyset) else {
            return Err(RequestError::Form {
                what: "ASCII in content-digest and hanzo-keyset",
            });
        };
        Ok(RequestLine {
            method: self.method.as_str(),
            path: self.uri.path(),
            query: self.uri.query(),
            content_digest,
            keyset,
        })
    }

    /// That the body will be the one that was signed.
    pub(super) fn promise(line: &RequestLine<'_>) -> Promise {
        Promise(Some(line.content_digest.to_owned()))
    }

    fn one(&self, name: &'static str) -> Result<&[u8], RequestError> {
        let mut all = self.headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (Some(value), None) => Ok(value.as_bytes()),
            _ => Err(RequestError::Form {
                what: "one header each of signature-input, signature, content-digest and hanzo-keyset",
            }),
        }
    }
}
