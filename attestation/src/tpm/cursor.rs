//! The one way this module reads a TPM's structures: checked, forward only, big endian.

use super::error::TpmError;

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Name of the structure, for errors.
    structure: &'static str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, structure }
    }

    pub(super) fn wrong(&self, field: &'static str, detail: &'static str) -> TpmError {
        TpmError::Structure {
            structure: self.structure,
            field,
            detail,
        }
    }

    pub(super) fn bytes(&mut self, field: &'static str, n: usize) -> Result<&'a [u8], TpmError> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            return Err(self.wrong(field, "the structure ends before it"));
        };
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], TpmError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.wrong(field, "the structure ends before it"));
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, TpmError> {
        self.take::<1>(field).map(|[b]| b)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, TpmError> {
        self.take(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, TpmError> {
        self.take(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, TpmError> {
        self.take(field).map(u64::from_be_bytes)
    }

    /// A TPM2B: bytes after their length (2 bytes), at most `most`.
    pub(super) fn sized(&mut self, field: &'static str, most: usize) -> Result<&'a [u8], TpmError> {
        let n = usize::from(self.u16(field)?);
        if n > most {
            return Err(self.wrong(field, "longer than the specification allows"));
        }
        self.bytes(field, n)
    }

    /// There must be nothing left.
    pub(super) fn finish(self) -> Result<(), TpmError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(TpmError::Trailing {
                structure: self.structure,
                bytes: self.rest.len(),
            })
        }
    }
}
