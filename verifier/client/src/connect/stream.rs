//! A streamed answer on its way to the program: every frame goes on at once, and the receipt frame is checked against all
//! that went before it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use hanzo_sealed::padding::is_fill;
use http_body_util::BodyExt as _;
use hyper::Response;

use crate::body::AnswerBody;
use crate::call::RECEIPT_ID_HEADER;
use crate::error::ClientError;
use crate::pinned::Pinned;
use crate::receipts::ReceiptStatus;
use crate::sse::{FRAME_BYTES_MAX, Frames, is_end, receipt_json};
use crate::way::Client;

struct Passing {
    client: Client,
    pinned: Arc<Pinned>,
    body: Option<AnswerBody>,
    frames: Frames,
    ready: VecDeque<Bytes>,
    request: Bytes,
    /// All bytes before the receipt frame; `None` once the receipt was seen, none is due, or it grew too long.
    heard: Option<Vec<u8>>,
    id: Option<String>,
    due: bool,
    /// A receipt came: nothing that it does not cover may follow.
    closed: bool,
}

/// The frames of `answer`, each as soon as it is whole, followed by a comment on the receipt.
pub(crate) fn checked(
    client: Client,
    answer: Response<AnswerBody>,
    request: Bytes,
    due: bool,
) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
    let id = answer
        .headers()
        .get(RECEIPT_ID_HEADER)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let body = answer.into_body();
    let passing = Passing {
        client,
        pinned: body.pinned().clone(),
        body: Some(body),
        frames: Frames::default(),
        ready: VecDeque::new(),
        request,
        heard: due.then(Vec::new),
        id,
        due,
        closed: false,
    };
    unfold(passing, |mut passing| async move {
        passing.next().await.map(|item| (item, passing))
    })
}

impl Passing {
    async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            let piece = self.body.as_mut()?.frame().await;
            match piece {
                Some(Ok(piece)) => {
                    if let Ok(bytes) = piece.into_data() {
                        self.frames.push(&bytes);
                    }
                    if let Err(e) = self.cut().await {
                        return self.broke(e);
                    }
                }
                Some(Err(e)) => return self.broke(e),
                None => self.end(),
            }
        }
    }

    async fn cut(&mut self) -> Result<(), ClientError> {
        let too_long = |_| ClientError::AnswerTooLarge { limit: FRAME_BYTES_MAX };
        while let Some(frame) = self.frames.next().map_err(too_long)? {
            // Padding belongs to the way, not to the answer.
            if is_fill(&frame) {
                continue;
            }
            if self.closed && !is_end(&frame) {
                return Err(ClientError::AfterReceipt);
            }
            if claims_status(&frame) {
                return Err(ClientError::ForgedStatus);
            }
            match (receipt_json(&frame), self.heard.take()) {
                (Some(document), Some(heard)) => {
                    let id = self.id.as_deref();
                    let client = self.client.clone();
                    let records = client.records();
                    let status = records.settle(document, &self.pinned, id, &self.request, &heard).await;
                    self.due = false;
                    self.closed = true;
                    let comment = comment(&status);
                    self.ready.push_back(frame);
                    self.ready.push_back(comment);
                }
                (_, heard) => {
                    self.heard = heard;
                    self.hear(&frame);
                    self.ready.push_back(frame);
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, frame: &[u8]) {
        let limit = self.client.limits().answer_bytes_max;
        if let Some(heard) = &mut self.heard {
            if heard.len() + frame.len() > limit {
                tracing::warn!(limit, "answer too long to check its receipt");
                self.heard = None;
            } else {
                heard.extend_from_slice(frame);
            }
        }
    }

    fn end(&mut self) {
        self.body = None;
        // What no blank line ended is no event (WHATWG HTML 9.2.6) and goes nowhere.
        if self.due {
            let status = ReceiptStatus::Missing {
                text: "the stream ended without one that could be checked",
            };
            self.client.records().note(&status);
            self.ready.push_back(comment(&status));
        }
    }

    fn broke(&mut self, e: ClientError) -> Option<Result<Bytes, ClientError>> {
        tracing::error!(code = e.code(), "answer broke off: {e}");
        if matches!(e, ClientError::AfterReceipt | ClientError::ForgedStatus) {
            self.client.records().note(&ReceiptStatus::Mismatch {
                code: e.code(),
                text: e.to_string(),
            });
        }
        self.body = None;
        Some(Err(e))
    }
}

/// How the verdict on a receipt begins. Only this endpoint may say it.
const STATUS: &str = "hanzo-receipt-status";

fn comment(status: &ReceiptStatus) -> Bytes {
    Bytes::from(format!(": {STATUS} {}\n\n", status.word()))
}

/// True if a line of the guest's frame is a comment that reads like ours.
fn claims_status(frame: &[u8]) -> bool {
    frame
        .split(|b| matches!(b, b'\n' | b'\r'))
        .filter_map(|line| line.strip_prefix(b":"))
        .any(|comment| comment.trim_ascii_start().starts_with(STATUS.as_bytes()))
}
