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
    /// As DECIMALs of one scale.
    Decimal,
    /// As floating point numbers: servers turn them into text in different ways.
    Float,
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
        .map(|((left, right), order)| match order {
            Order::Integer => number::<i128>(left).cmp(&number(right)),
            Order::Decimal => decimal(left).cmp(&decimal(right)),
            Order::Float => number::<f64>(left)
                .partial_cmp(&number(right))
                .unwrap_or_else(|| bytes(left).cmp(&bytes(right))),
            Order::Bytes => bytes(left).cmp(&bytes(right)),
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

/// `None` for NULL, which comes first.
fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    std::str::from_utf8(bytes(value)?).ok()?.parse().ok()
}

/// What orders DECIMALs of one scale: the sign, then how many digits, then which, the other way round
/// where it is negative.
fn decimal(value: &Value) -> Option<(bool, isize, Vec<u8>)> {
    let text = bytes(value)?;
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let length = isize::try_from(digits.len()).ok()?;
    let inverted = |digit: &u8| if negative { !digit } else { *digit };
    let length = if negative { -length } else { length };
    Some((!negative, length, digits.iter().map(inverted).collect()))
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
    fn negative_numbers_come_before_positive_ones() {
        let value = |text: &str| [Value::Bytes(text.into())];
        let orders = [Order::Integer];
        assert!(compare_keys(&value("-10"), &value("9"), &orders).is_lt());
        assert!(compare_keys(&value("18446744073709551615"), &value("9"), &orders).is_gt());
        let ascending = ["-10.5", "-9.5", "-9.4", "0.0", "9.5", "10.4"];
        for order in [Order::Decimal, Order::Float] {
            for pair in ascending.windows(2) {
                assert!(
                    compare_keys(&value(pair[0]), &value(pair[1]), &[order]).is_lt(),
                    "{pair:?}"
                );
            }
            assert!(compare_keys(&[Value::NULL], &value("-10.5"), &[order]).is_lt());
        }
    }
}
