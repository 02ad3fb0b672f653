//! The one way this module reads log bytes: checked, forward only, little endian.

use super::error::EventLogError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Number of the event being read; 0 is the header.
    pub(super) event: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, event: 0 }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn truncated(&self, field: &'static str) -> EventLogError {
        EventLogError::Truncated {
            event: self.event,
            field,
        }
    }

    /// The next `n` bytes. Nothing is allocated before they are seen to be there.
    pub(super) fn bytes(&mut self, field: &'static str, n: usize) -> Result<&'a [u8], EventLogError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(self.truncated(field))?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], EventLogError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(self.truncated(field))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, EventLogError> {
        self.take::<1>(field).map(|[b]| b)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, EventLogError> {
        self.take(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, EventLogError> {
        self.take(field).map(u32::from_le_bytes)
    }

    /// Bytes after their length (4 bytes).
    pub(super) fn sized(&mut self, field: &'static str) -> Result<&'a [u8], EventLogError> {
        let n = self.u32(field)?;
        self.bytes(field, usize::try_from(n).unwrap_or(usize::MAX))
    }
}
