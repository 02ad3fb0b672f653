//! Server-sent events, as strictly as these servers write them: `data:` of one line each, comments, nothing else.

use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::breach::Breach;
use crate::http::{Bounds, Open};

/// The events of one answer.
pub(crate) struct Events {
    open: Open,
    bounds: Bounds,
    /// Read and not yet taken; `searched` bytes of it hold no end of line.
    read: Zeroizing<Vec<u8>>,
    searched: usize,
    /// What may still be read.
    left: usize,
    ends: Instant,
    first: Option<Instant>,
}

impl Events {
    pub(crate) fn new(open: Open, bounds: Bounds, max_tokens: usize, first: Instant, ends: Instant) -> Self {
        let left = bounds.token_bytes_max.saturating_mul(max_tokens);
        Self {
            open,
            bounds,
            read: Zeroizing::new(Vec::new()),
            searched: 0,
            left: left.saturating_add(bounds.event_bytes_max),
            ends,
            first: Some(first),
        }
    }

    /// The data of the next event; `None` at the end of the body.
    ///
    /// # Errors
    /// [`Breach::Slow`], [`Breach::TooLong`], [`Breach::Shape`], [`Breach::EndedEarly`].
    pub(crate) async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Breach> {
        let by = self.first.take().unwrap_or_else(|| Instant::now() + self.bounds.event);
        let by = by.min(self.ends);
        let mut data = None;
        loop {
            let Some(line) = self.line(by).await? else {
                return match data {
                    None => Ok(None),
                    Some(_) => Err(Breach::EndedEarly),
                };
            };
            match (line.as_slice(), &data) {
                ([], Some(_)) => return Ok(data),
                ([], None) | ([b':', ..], _) => (),
                ([b'd', b'a', b't', b'a', b':', rest @ ..], None) => {
                    data = Some(Zeroizing::new(rest.strip_prefix(b" ").unwrap_or(rest).to_vec()));
                }
                ([b'd', b'a', b't', b'a', b':', ..], Some(_)) => {
                    return Err(Breach::Shape("an event has two lines of data; expected one"));
                }
                _ => return Err(Breach::Shape("a line is neither data nor a comment")),
            }
        }
    }

    /// The next line without its end.
    async fn line(&mut self, by: Instant) -> Result<Option<Zeroizing<Vec<u8>>>, Breach> {
        loop {
            let fresh = self.read.get(self.searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = self.searched + at;
                let mut line = Zeroizing::new(self.read.get(..end).unwrap_or_default().to_vec());
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                if line.contains(&b'\r') {
                    return Err(Breach::Shape("a carriage return stands within a line"));
                }
                self.read.drain(..=end);
                self.searched = 0;
                if line.len() > self.bounds.event_bytes_max {
                    return Err(Breach::TooLong("an event"));
                }
                return Ok(Some(line));
            }
            self.searched = self.read.len();
            if self.searched > self.bounds.event_bytes_max {
                return Err(Breach::TooLong("an event"));
            }
            let frame = timeout_at(by, self.open.body.frame()).await;
            let bytes = match frame.map_err(|_| Breach::Slow("send an event"))? {
                None if self.read.is_empty() => return Ok(None),
                None | Some(Err(_)) => return Err(Breach::EndedEarly),
                Some(Ok(frame)) => frame
                    .into_data()
                    .map_err(|_| Breach::Shape("trailers stand behind the answer"))?,
            };
            self.left = self.left.checked_sub(bytes.len()).ok_or(Breach::TooLong("an answer"))?;
            self.read.extend_from_slice(&bytes);
        }
    }
}
