//! Server-sent events of the engine, line by line, bounded.

use bytes::{Buf, Bytes, BytesMut};

use super::EngineError;

/// Longest line.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// Bytes in, `data:` payloads out.
pub(crate) struct DataLines {
    buffer: BytesMut,
    /// Up to here there is no line end.
    searched: usize,
    budget: u64,
}

impl DataLines {
    /// `budget`: most bytes that may come in all.
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            budget,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.budget = self
            .budget
            .checked_sub(bytes.len() as u64)
            .ok_or(EngineError::Protocol {
                what: "more bytes than the answer can have",
            })?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next payload; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = rest.iter().position(|b| *b == b'\n') else {
                self.searched = self.buffer.len();
                if self.buffer.len() > LINE_BYTES_MAX {
                    return Err(EngineError::Protocol {
                        what: "a line too long",
                    });
                }
                return Ok(None);
            };
            let mut line = self.buffer.split_to(self.searched + at).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if line.len() > LINE_BYTES_MAX {
                return Err(EngineError::Protocol {
                    what: "a line too long",
                });
            }
            if line.ends_with(b"\r") {
                line.truncate(line.len() - 1);
            }
            if line.is_empty() || line.starts_with(b":") {
                continue;
            }
            if !line.starts_with(b"data:") {
                return Err(EngineError::Protocol {
                    what: "a line that is no data",
                });
            }
            line.advance(5);
            if line.starts_with(b" ") {
                line.advance(1);
            }
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_out_however_the_bytes_come_in() {
        let text = b": hello\n\ndata: one\r\n\r\ndata:two\n\n";
        for step in 1..text.len() {
            let mut lines = DataLines::new(100);
            let mut got = Vec::new();
            for piece in text.chunks(step) {
                lines.push(piece).unwrap();
                while let Some(line) = lines.next().unwrap() {
                    got.push(line);
                }
            }
            assert_eq!(got, ["one", "two"]);
        }
    }

    #[test]
    fn other_lines_long_lines_and_floods_are_refused() {
        let mut lines = DataLines::new(1 << 20);
        lines.push(b"event: x\n").unwrap();
        assert_eq!(
            lines.next(),
            Err(EngineError::Protocol {
                what: "a line that is no data"
            })
        );
        let mut lines = DataLines::new(1 << 20);
        lines.push(&vec![b'x'; LINE_BYTES_MAX + 1]).unwrap();
        assert_eq!(
            lines.next(),
            Err(EngineError::Protocol {
                what: "a line too long"
            })
        );
        let mut lines = DataLines::new(10);
        assert!(lines.push(&[b'\n'; 10]).is_ok());
        assert!(lines.push(b"\n").is_err());
    }
}
