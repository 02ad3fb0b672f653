//! The one way this module reads quote bytes: checked, forward only, nothing skipped unseen.

use super::error::TdxError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `N` bytes of `field`.
    pub(super) fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], TdxError> {
        self.bytes(field, N)?.try_into().map_err(|_| TdxError::Length {
            field,
            expected: N,
            got: 0,
        })
    }

    /// The next `n` bytes of `field`. Nothing is allocated, so that no length field can ask for memory.
    pub(super) fn bytes(&mut self, field: &'static str, n: usize) -> Result<&'a [u8], TdxError> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            return Err(TdxError::Length {
                field,
                expected: n,
                got: self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, TdxError> {
        self.take(field).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, TdxError> {
        self.take(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, TdxError> {
        self.take(field).map(u64::from_le_bytes)
    }

    /// A length field of four bytes.
    pub(super) fn length(&mut self, field: &'static str) -> Result<usize, TdxError> {
        Ok(usize::try_from(self.u32(field)?).unwrap_or(usize::MAX))
    }

    /// What is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// There must be nothing left inside `field`.
    pub(super) fn finish(self, field: &'static str) -> Result<(), TdxError> {
        match self.rest.len() {
            0 => Ok(()),
            got => Err(TdxError::Excess { field, got }),
        }
    }
}
