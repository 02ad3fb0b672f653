//! A request on its way into the channel.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::error::ClientError;

/// Header that names the owner of receipts, inside the channel.
pub const OWNER_HEADER: &str = "hanzo-owner";

/// Method, path, body and the two headers that a guest reads. Nothing else of what a program sends goes on: no address,
/// no agent, no cookie, no API key.
#[derive(Clone)]
pub struct ChannelRequest {
    method: Method,
    path_and_query: String,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
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

    /// The exact bytes that a receipt commits to.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// True for a request whose answer has a receipt.
    pub(crate) fn is_chat(&self) -> bool {
        self.method == Method::POST && self.path_and_query.split('?').next() == Some(crate::call::CHAT_PATH)
    }

    pub(crate) fn into_http(self) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri: Uri = self
            .path_and_query
            .parse()
            .ok()
            .filter(|u: &Uri| u.authority().is_none() && u.path().starts_with('/'))
            .ok_or(ClientError::Request {
                detail: "path: expected a path that starts with /",
            })?;
        let mut request = Request::new(Full::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("guest"));
        for (name, value) in [(ACCEPT, self.accept), (CONTENT_TYPE, self.content_type)] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        Ok(request)
    }
}
