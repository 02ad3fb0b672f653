//! Bytes that came and were not used up yet.

use zeroize::Zeroizing;

/// A queue of bytes; wiped when dropped, since decrypted parts pass through it.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            // What was used up goes first, so that the queue is never longer than what waits.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes exactly `len` bytes, or nothing if there are fewer.
    pub(crate) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let taken = self.rest().get(..len)?.to_vec();
        self.start += len;
        Some(taken)
    }

    /// Takes what is there, at most `max` bytes.
    pub(crate) fn take_up_to(&mut self, max: usize) -> Vec<u8> {
        self.take(max.min(self.len())).unwrap_or_default()
    }

    /// Uses up `len` bytes that were looked at.
    pub(crate) fn skip(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.bytes.len());
    }
}
