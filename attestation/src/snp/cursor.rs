//! The one way this module reads report bytes: checked, forward only, nothing skipped unseen.

use super::error::SnpError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], SnpError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(SnpError::Length {
                got: self.at.saturating_add(self.rest.len()),
            });
        };
        self.rest = rest;
        self.at = self.at.saturating_add(N);
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, SnpError> {
        self.take::<1>().map(|[b]| b)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SnpError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SnpError> {
        self.take().map(u64::from_le_bytes)
    }

    /// The next `N` bytes, which must be zero.
    pub(super) fn zeros<const N: usize>(&mut self, field: &'static str) -> Result<(), SnpError> {
        let offset = self.at;
        match self.take::<N>()?.iter().position(|b| *b != 0) {
            None => Ok(()),
            Some(i) => Err(SnpError::Reserved {
                field,
                offset: offset.saturating_add(i),
            }),
        }
    }

    /// There must be nothing left.
    pub(super) fn finish(self) -> Result<(), SnpError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(SnpError::Length {
                got: self.at.saturating_add(self.rest.len()),
            })
        }
    }
}
