//! The one way this module reads report bytes: checked, forward only, nothing skipped unseen.

use super::error::NvidiaError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `length` bytes.
    pub(super) fn bytes(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], NvidiaError> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            return Err(NvidiaError::Truncated {
                field,
                missing: length.saturating_sub(self.rest.len()),
            });
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], NvidiaError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(NvidiaError::Truncated {
                field,
                missing: N.saturating_sub(self.rest.len()),
            });
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, NvidiaError> {
        self.take::<1>(field).map(|[b]| b)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, NvidiaError> {
        self.take(field).map(u16::from_le_bytes)
    }

    /// Three bytes, little endian.
    pub(super) fn u24(&mut self, field: &'static str) -> Result<usize, NvidiaError> {
        let [a, b, c] = self.take(field)?;
        Ok(u32::from_le_bytes([a, b, c, 0]) as usize)
    }

    /// A byte that must have this value.
    pub(super) fn expect(&mut self, field: &'static str, expected: u8) -> Result<(), NvidiaError> {
        match self.u8(field)? {
            got if got == expected => Ok(()),
            got => Err(NvidiaError::Field { field, expected, got }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// There must be nothing left.
    pub(super) fn finish(self, part: &'static str) -> Result<(), NvidiaError> {
        match self.rest.len() {
            0 => Ok(()),
            got => Err(NvidiaError::Trailing { part, got }),
        }
    }
}
