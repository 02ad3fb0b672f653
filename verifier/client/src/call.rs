//! Whole exchanges: a request, its answer in full, its receipt checked.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::body::AnswerBody;
use crate::client::AttestedClient;
use crate::error::ClientError;
use crate::receipts::ReceiptStatus;
use crate::request::{ChannelRequest, unpadded};
use crate::sealed::SealedClient;
use crate::way::Client;

/// Header that names the receipt of an answer.
pub const RECEIPT_ID_HEADER: &str = "hanzo-receipt-id";
/// Where a guest takes chats.
pub const CHAT_PATH: &str = "/v1/chat/completions";
/// Where answers have receipts.
pub(crate) const RECEIPT_PATHS: [&str; 5] = [
    CHAT_PATH,
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/responses",
];

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers as the guest sent them.
    pub headers: HeaderMap,
    /// The exact bytes.
    pub body: Bytes,
    /// Its receipt; `None` where none is due.
    pub receipt: Option<ReceiptStatus>,
}

/// The answer to one question.
#[derive(Debug)]
pub struct ChatAnswer {
    /// What the model said.
    pub content: String,
    /// The receipt's id, if the guest named one.
    pub receipt_id: Option<String>,
    /// How the receipt came out.
    pub receipt: ReceiptStatus,
    /// The whole answer.
    pub answer: Answer,
}

impl AttestedClient {
    /// Sends a request, reads its whole answer, and fetches and checks the receipt that the answer names.
    ///
    /// # Errors
    /// [`ClientError`]. A wrong receipt is no error: it is in [`Answer::receipt`].
    pub async fn exchange(&self, request: ChannelRequest) -> Result<Answer, ClientError> {
        Client::from(self.clone()).exchange(request).await
    }

    /// One chat, not streamed. `request` is the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    /// [`ClientError`]; an error answer of the guest is [`ClientError::Exchange`] with its text.
    pub async fn chat_once(&self, request: &Value) -> Result<ChatAnswer, ClientError> {
        Client::from(self.clone()).chat_once(request).await
    }

    /// One chat as [`Self::chat_once`], by a request that may show a key: `POST` [`CHAT_PATH`], not streamed.
    ///
    /// # Errors
    /// As [`Self::chat_once`].
    pub async fn chat(&self, request: ChannelRequest) -> Result<ChatAnswer, ClientError> {
        Client::from(self.clone()).chat(request).await
    }
}

impl SealedClient {
    /// Sends a request, reads its whole answer, and fetches and checks the receipt that the answer names.
    ///
    /// # Errors
    /// [`ClientError`]. A wrong receipt is no error: it is in [`Answer::receipt`].
    pub async fn exchange(&self, request: ChannelRequest) -> Result<Answer, ClientError> {
        Client::from(self.clone()).exchange(request).await
    }

    /// One chat, not streamed. `request` is the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    /// [`ClientError`]; an error answer of the guest is [`ClientError::Exchange`] with its text.
    pub async fn chat_once(&self, request: &Value) -> Result<ChatAnswer, ClientError> {
        Client::from(self.clone()).chat_once(request).await
    }
}

impl Client {
    /// Sends a request, reads its whole answer, and fetches and checks the receipt that the answer names.
    ///
    /// # Errors
    /// [`ClientError`]. A wrong receipt is no error: it is in [`Answer::receipt`].
    pub async fn exchange(&self, request: ChannelRequest) -> Result<Answer, ClientError> {
        let sent = request.body().clone();
        let is_chat = request.is_chat();
        let answer = self.send(request).await?;
        self.whole(answer, is_chat, &sent).await
    }

    pub(crate) async fn whole(
        &self,
        answer: hyper::Response<AnswerBody>,
        is_chat: bool,
        sent: &[u8],
    ) -> Result<Answer, ClientError> {
        let (head, body) = answer.into_parts();
        let pinned = body.pinned().clone();
        let body = unpadded(&head.headers, self.collect(body).await?)?;
        let id = head
            .headers
            .get(RECEIPT_ID_HEADER)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let receipt = match &id {
            _ if !is_chat => None,
            Some(id) => Some(match self.fetch_receipt(id).await {
                Ok(document) => self.records().settle(&document, &pinned, Some(id), sent, &body).await,
                Err(text) => self.missing(text),
            }),
            None if head.status.is_success() => Some(self.missing("the answer names none")),
            None => None,
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            receipt,
        })
    }

    /// One chat, not streamed. `request` is the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    /// [`ClientError`]; an error answer of the guest is [`ClientError::Exchange`] with its text.
    pub async fn chat_once(&self, request: &Value) -> Result<ChatAnswer, ClientError> {
        let body = serde_json::to_vec(request).map_err(|_| ClientError::Request { detail: "not JSON" })?;
        self.chat(ChannelRequest::post_json(CHAT_PATH, body.into())).await
    }

    /// One chat as [`Self::chat_once`], by a request that may show a key: `POST` [`CHAT_PATH`], not streamed.
    ///
    /// # Errors
    /// As [`Self::chat_once`].
    pub async fn chat(&self, request: ChannelRequest) -> Result<ChatAnswer, ClientError> {
        let mut answer = self.exchange(request).await?;
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let content = document.pointer("/choices/0/message/content").and_then(Value::as_str);
        match content {
            Some(content) if answer.status.is_success() => {
                let named = answer.headers.get(RECEIPT_ID_HEADER).and_then(|v| v.to_str().ok());
                let receipt = answer
                    .receipt
                    .take()
                    .unwrap_or(ReceiptStatus::Missing { text: "none was due" });
                Ok(ChatAnswer {
                    content: content.to_owned(),
                    receipt_id: named.map(str::to_owned),
                    receipt,
                    answer,
                })
            }
            _ => {
                let text = document.pointer("/error/message").and_then(Value::as_str);
                let text = text.unwrap_or("the answer holds no message");
                Err(ClientError::Exchange {
                    detail: format!("status {}: {text}", answer.status.as_u16()),
                })
            }
        }
    }

    fn missing(&self, text: &'static str) -> ReceiptStatus {
        let status = ReceiptStatus::Missing { text };
        self.records().note(&status);
        status
    }

    async fn fetch_receipt(&self, id: &str) -> Result<Bytes, &'static str> {
        if hanzo_verifier::receipt::ReceiptId::from_hex(id).is_none() {
            return Err("the answer names a receipt id that is none");
        }
        let answer = self.send(ChannelRequest::get(format!("/v1/receipts/{id}"))).await;
        let answer = answer.map_err(|_| "the guest could not be reached again to fetch it")?;
        if answer.status() != StatusCode::OK {
            return Err("the guest does not hand out the receipt that its answer names");
        }
        let (head, body) = answer.into_parts();
        let body = self.collect(body).await;
        body.and_then(|body| unpadded(&head.headers, body))
            .map_err(|_| "the receipt could not be read to its end")
    }

    async fn collect(&self, body: AnswerBody) -> Result<Bytes, ClientError> {
        let limit = self.limits().answer_bytes_max;
        match Limited::new(body, limit).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(e) if e.is::<LengthLimitError>() => Err(ClientError::AnswerTooLarge { limit }),
            Err(e) => Err(match e.downcast::<ClientError>() {
                Ok(e) => *e,
                Err(e) => ClientError::Exchange { detail: e.to_string() },
            }),
        }
    }
}
