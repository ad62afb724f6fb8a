//! Rows of one table as one server sends them, and how two rows compare.

use std::cmp::Ordering;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, QueryResult, Row, TextProtocol, Value};

const SHOWN_BYTES: usize = 60;

/// How values of a key column compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    /// As integers.
    Integer,
    /// As the bytes of their text form.
    Bytes,
}

/// One row: what orders it, and its cells.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) key: Vec<Value>,
    pub(super) values: Vec<Value>,
}

/// The rows of one server, as they arrive.
pub(super) struct Side<'c> {
    result: QueryResult<'c, 'static, TextProtocol>,
    key_columns: usize,
}

impl<'c> Side<'c> {
    pub(super) async fn open(
        conn: &'c mut Conn,
        statement: &'c str,
        key_columns: usize,
    ) -> Result<Side<'c>> {
        let result = conn.query_iter(statement).await;
        let result = result.with_context(|| format!("cannot run {statement}"))?;
        Ok(Side { result, key_columns })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Cells>> {
        let row = self.result.next().await.context("the connection was lost while reading rows")?;
        Ok(row.map(|row: Row| {
            let mut key = row.unwrap();
            let values = key.split_off(self.key_columns);
            Cells { key, values }
        }))
    }
}

pub(super) fn compare_keys(left: &[Value], right: &[Value], orders: &[Order]) -> Ordering {
    let parts = left.iter().zip(right).zip(orders);
    parts
        .map(|((left, right), order)| match (order, integer(left), integer(right)) {
            (Order::Integer, Some(left), Some(right)) => left.cmp(&right),
            _ => bytes(left).cmp(&bytes(right)),
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// In the text protocol every value is bytes or NULL.
fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i128> {
    std::str::from_utf8(bytes(value)?).ok()?.parse().ok()
}

pub(super) fn show(value: &Value) -> String {
    match bytes(value) {
        None => "NULL".to_owned(),
        Some(bytes) => {
            let more = if bytes.len() > SHOWN_BYTES { "…" } else { "" };
            format!("'{}{more}'", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_integers_come_before_positive_ones() {
        let value = |text: &str| [Value::Bytes(text.into())];
        let orders = [Order::Integer];
        assert!(compare_keys(&value("-10"), &value("9"), &orders).is_lt());
        assert!(compare_keys(&value("18446744073709551615"), &value("9"), &orders).is_gt());
    }
}
