//! Big-endian structures of the TPM: written whole, read through a cursor that refuses what is left over.

use super::TpmError;

/// A structure being written.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// TPM2B: length, then bytes. What this crate sends is far below 65536 bytes.
    pub(super) fn sized(self, bytes: &[u8]) -> Self {
        self.u16(bytes.len() as u16).bytes(bytes)
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// A structure being read.
pub(super) struct Reader<'a> {
    command: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(command: &'static str, bytes: &'a [u8]) -> Self {
        Self { command, rest: bytes }
    }

    pub(super) fn bad(&self, field: &'static str, expected: &'static str) -> TpmError {
        TpmError::Malformed {
            command: self.command,
            field,
            expected,
        }
    }

    pub(super) fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], TpmError> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.bad(field, "as many bytes as it states")),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], TpmError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.bad(field, "more bytes")),
        }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, TpmError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, TpmError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, TpmError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, TpmError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// TPM2B.
    pub(super) fn sized(&mut self, field: &'static str) -> Result<&'a [u8], TpmError> {
        let len = self.u16(field)?;
        self.take(field, usize::from(len))
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn end(self, field: &'static str) -> Result<(), TpmError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.bad(field, "nothing behind it"))
        }
    }
}
