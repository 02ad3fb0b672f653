//! Statements and values between the store's and the driver's.

use std::error::Error;

use bytes::BytesMut;
use hanzo_store::{Row, StoreError, Value};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// `?1` becomes `$1`; texts in quotes are left alone.
pub(crate) fn placeholders(sql: &str) -> String {
    let mut quoted = false;
    sql.chars()
        .map(|c| {
            quoted ^= c == '\'';
            match c {
                '?' if !quoted => '$',
                c => c,
            }
        })
        .collect()
}

/// A value on its way to the server.
#[derive(Debug)]
pub(crate) struct Sent(pub(crate) Value);

impl Sent {
    pub(crate) fn kind(&self) -> Type {
        match &self.0 {
            // The server finds out: a NULL has the type of its place.
            Value::Null => Type::UNKNOWN,
            Value::Integer(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
            Value::Blob(_) => Type::BYTEA,
        }
    }
}

impl ToSql for Sent {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(n) => n.to_sql(ty, out),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A row that came from the server.
pub(crate) fn row(place: &str, row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let values = row.columns().iter().enumerate().map(|(n, column)| {
        let read = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(n).map(Value::from),
            Type::INT4 => row.try_get::<_, Option<i32>>(n).map(Value::from),
            Type::BOOL => row.try_get::<_, Option<bool>>(n).map(Value::from),
            Type::TEXT | Type::VARCHAR => row.try_get::<_, Option<String>>(n).map(Value::from),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(n).map(Value::from),
            _ => {
                return Err(StoreError::Shape {
                    column: n,
                    expected: "bigint, text or bytea",
                    got: "another type",
                });
            }
        };
        read.map_err(|e| crate::errors::store_error(place, &e))
    });
    Ok(Row::new(values.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn question_marks_in_texts_stay() {
        assert_eq!(
            placeholders("SELECT ?1, 'what?1' WHERE a = ?12"),
            "SELECT $1, 'what?1' WHERE a = $12"
        );
    }
}
