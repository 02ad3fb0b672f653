//! What goes into a statement and what comes out: the types that SQLCipher and PostgreSQL share.

use crate::StoreError;

/// One value. PostgreSQL: `BIGINT`, `TEXT`, `BYTEA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A signed number; booleans are 0 and 1.
    Integer(i64),
    /// UTF-8 without NUL.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "integer",
            Self::Text(_) => "text",
            Self::Blob(_) => "blob",
        }
    }
}

macro_rules! from {
    ($($of:ty => $to:expr;)*) => {
        $(impl From<$of> for Value {
            fn from(value: $of) -> Self {
                ($to)(value)
            }
        })*
    };
}

from! {
    i64 => Self::Integer;
    i32 => |n| Self::Integer(i64::from(n));
    u32 => |n| Self::Integer(i64::from(n));
    bool => |b| Self::Integer(i64::from(b));
    String => Self::Text;
    &String => |s: &String| Self::Text(s.clone());
    &str => |s: &str| Self::Text(s.to_owned());
    Vec<u8> => Self::Blob;
    &Vec<u8> => |b: &Vec<u8>| Self::Blob(b.clone());
    &[u8] => |b: &[u8]| Self::Blob(b.to_vec());
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of an answer. Columns are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Value>);

impl Row {
    /// A row, as a backend read it.
    pub fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// A number.
    ///
    /// # Errors
    /// [`StoreError::Shape`] if the column holds something else, as for all readers here.
    pub fn integer(&self, column: usize) -> Result<i64, StoreError> {
        match self.0.get(column) {
            Some(Value::Integer(n)) => Ok(*n),
            got => Err(shape(column, "integer", got)),
        }
    }

    /// A count, version or time: a number that is not negative.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn unsigned(&self, column: usize) -> Result<u64, StoreError> {
        u64::try_from(self.integer(column)?).map_err(|_| shape(column, "a number from 0", self.0.get(column)))
    }

    /// 0 or 1.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn flag(&self, column: usize) -> Result<bool, StoreError> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(shape(column, "0 or 1", self.0.get(column))),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text),
            got => Err(shape(column, "text", got)),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        match self.0.get(column) {
            Some(Value::Blob(bytes)) => Ok(bytes),
            got => Err(shape(column, "blob", got)),
        }
    }

    /// Bytes of a fixed length.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn array<const N: usize>(&self, column: usize) -> Result<[u8; N], StoreError> {
        let bytes = self.blob(column)?;
        <[u8; N]>::try_from(bytes).map_err(|_| shape(column, "a blob of its fixed length", self.0.get(column)))
    }

    /// A number, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn opt_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.is_some(column)?.then(|| self.integer(column)).transpose()
    }

    /// A text, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.is_some(column)?.then(|| self.text(column)).transpose()
    }

    /// Bytes, if there are any.
    ///
    /// # Errors
    /// [`StoreError::Shape`].
    pub fn opt_blob(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.is_some(column)?.then(|| self.blob(column)).transpose()
    }

    fn is_some(&self, column: usize) -> Result<bool, StoreError> {
        match self.0.get(column) {
            None => Err(shape(column, "a column", None)),
            Some(value) => Ok(*value != Value::Null),
        }
    }
}

fn shape(column: usize, expected: &'static str, got: Option<&Value>) -> StoreError {
    StoreError::Shape {
        column,
        expected,
        got: got.map_or("no such column", Value::kind),
    }
}
