//! Canonical bytes: one spelling of each value, every length held against its bound before anything is allocated.
//!
//! # Layout
//! Integers big-endian at full width (u128: 16 bytes). Booleans and variants: one byte out of a closed list. Byte strings: u32
//! length, then the bytes. Lists: u16 count, then the items. Structures: their fields in the order in which they are declared.

use std::ops::Deref;

use hanzo_attestation::{Digest256, Digest384};

/// Why bytes are no canonical value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("ledger: {what}: expected {expected} more bytes, got {got}: the message was cut off")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Bytes it needs.
        expected: usize,
        /// Bytes that are left.
        got: usize,
    },
    /// Bytes follow the value.
    #[error("ledger: {what}: {got} bytes follow its end: send exactly one")]
    Trailing {
        /// The value.
        what: &'static str,
        /// How many.
        got: usize,
    },
    /// A length beyond its bound.
    #[error("ledger: {what}: expected at most {max}, got {got}")]
    TooLong {
        /// The field.
        what: &'static str,
        /// The bound.
        max: usize,
        /// What the message says.
        got: usize,
    },
    /// A byte that names no variant.
    #[error("ledger: {what}: expected {expected}, got {got}")]
    Tag {
        /// The field.
        what: &'static str,
        /// The closed list.
        expected: &'static str,
        /// The byte.
        got: u8,
    },
    /// A list that must be sorted and without repeats is not.
    #[error("ledger: {what}: item {at} is not above the one before it: sort the list and take repeats out")]
    Order {
        /// The list.
        what: &'static str,
        /// Which item, from 0.
        at: usize,
    },
}

impl DecodeError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "ledger.decode.truncated",
            Self::Trailing { .. } => "ledger.decode.trailing",
            Self::TooLong { .. } => "ledger.decode.too_long",
            Self::Tag { .. } => "ledger.decode.tag",
            Self::Order { .. } => "ledger.decode.order",
        }
    }
}

/// Takes values off the front of a message.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn take(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated {
            what,
            expected: len,
            got: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes exactly `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(what, N)?);
        Ok(out)
    }
}

/// A value with exactly one encoding.
pub trait Canonical: Sized {
    /// Appends the encoding.
    fn write(&self, out: &mut Vec<u8>);

    /// Takes one value; `what` names the field in errors.
    ///
    /// # Errors
    /// [`DecodeError`].
    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError>;

    /// The encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Reads one value of at most `max` bytes and nothing after it.
    ///
    /// # Errors
    /// [`DecodeError`].
    fn from_bytes(what: &'static str, bytes: &[u8], max: usize) -> Result<Self, DecodeError> {
        if bytes.len() > max {
            return Err(DecodeError::TooLong {
                what,
                max,
                got: bytes.len(),
            });
        }
        let mut reader = Reader { rest: bytes };
        let value = Self::read(&mut reader, what)?;
        match reader.rest.len() {
            0 => Ok(value),
            got => Err(DecodeError::Trailing { what, got }),
        }
    }
}

macro_rules! integers {
    ($($name:ty),*) => {$(
        impl Canonical for $name {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(from.array(what)?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, u128);

impl Canonical for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        match u8::read(from, what)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeError::Tag {
                what,
                expected: "0 or 1",
                got,
            }),
        }
    }
}

macro_rules! digests {
    ($($name:ident),*) => {$(
        impl Canonical for $name {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }

            fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
                Ok(Self(from.array(what)?))
            }
        }
    )*};
}
digests!(Digest256, Digest384);

impl<T: Canonical + Copy + Default, const N: usize> Canonical for [T; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let mut all = [T::default(); N];
        for item in &mut all {
            *item = T::read(from, what)?;
        }
        Ok(all)
    }
}

/// Exactly `N` bytes on the heap: keys and signatures.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fixed<const N: usize>(Box<[u8]>);

impl<const N: usize> Fixed<N> {
    /// Of exactly `N` bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == N).then(|| Self(bytes.into()))
    }
}

impl<const N: usize> Deref for Fixed<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> std::fmt::Debug for Fixed<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{N} bytes {}", Digest256::of(&self.0))
    }
}

impl<const N: usize> Canonical for Fixed<N> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(from.take(what, N)?.into()))
    }
}

/// At most `MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Bounded<MAX> {
    /// Of at most `MAX` bytes.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX).then_some(Self(bytes))
    }
}

impl<const MAX: usize> Deref for Bounded<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> Canonical for Bounded<MAX> {
    fn write(&self, out: &mut Vec<u8>) {
        (self.0.len() as u32).write(out);
        out.extend_from_slice(&self.0);
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let got = u32::read(from, what)? as usize;
        if got > MAX {
            return Err(DecodeError::TooLong { what, max: MAX, got });
        }
        Ok(Self(from.take(what, got)?.to_vec()))
    }
}

/// At most `MAX` items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Of at most `MAX` items.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Canonical, const MAX: usize> Canonical for List<T, MAX> {
    fn write(&self, out: &mut Vec<u8>) {
        (self.0.len() as u16).write(out);
        self.0.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Reader<'_>, what: &'static str) -> Result<Self, DecodeError> {
        let got = u16::read(from, what)? as usize;
        if got > MAX {
            return Err(DecodeError::TooLong { what, max: MAX, got });
        }
        // No capacity before the items: each takes at least a byte that must be there.
        let mut items = Vec::new();
        for _ in 0..got {
            items.push(T::read(from, what)?);
        }
        Ok(Self(items))
    }
}

/// Refuses a list that is not strictly ascending.
pub(crate) fn ascending<T: Ord>(what: &'static str, items: impl Iterator<Item = T>) -> Result<(), DecodeError> {
    let mut before: Option<T> = None;
    for (at, item) in items.enumerate() {
        if before.is_some_and(|b| b >= item) {
            return Err(DecodeError::Order { what, at });
        }
        before = Some(item);
    }
    Ok(())
}

/// Fields in the order in which they stand.
macro_rules! canonical {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Canonical for $name {
            fn write(&self, out: &mut Vec<u8>) {
                let _ = &out;
                $(self.$field.write(out);)*
            }

            fn read(
                from: &mut $crate::codec::Reader<'_>,
                _what: &'static str,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let _ = &from;
                Ok(Self {
                    $($field: $crate::codec::Canonical::read(from, concat!(stringify!($name), ".", stringify!($field)))?,)*
                })
            }
        }
    };
}
pub(crate) use canonical;

/// One tag byte, then the variant's value.
macro_rules! variants {
    ($name:ident, $expected:literal, { $($tag:literal => $variant:ident($inner:ty)),* $(,)? }) => {
        impl $crate::codec::Canonical for $name {
            fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(inner) => {
                        out.push($tag);
                        inner.write(out);
                    })*
                }
            }

            fn read(
                from: &mut $crate::codec::Reader<'_>,
                what: &'static str,
            ) -> Result<Self, $crate::codec::DecodeError> {
                match <u8 as $crate::codec::Canonical>::read(from, what)? {
                    $($tag => Ok(Self::$variant(<$inner as $crate::codec::Canonical>::read(from, stringify!($variant))?)),)*
                    got => Err($crate::codec::DecodeError::Tag { what, expected: $expected, got }),
                }
            }
        }
    };
}
pub(crate) use variants;
