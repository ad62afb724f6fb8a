//! One table: how its rows are read in an order that both servers share, and the merge of the two sides.
//!
//! Rows are ordered by the primary key. Where servers could disagree on an order (collations, ENUM, FLOAT),
//! the column is ordered by its bytes instead. A table without a primary key is ordered by a digest of
//! each row, so that equal rows, also repeated ones, meet.

use std::cmp::Ordering;

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::difference::Findings;
use super::row::{Cells, Order, Side, compare_keys, show};

/// A table's columns and what orders its rows.
#[derive(Debug)]
pub(super) struct Table {
    database: String,
    name: String,
    columns: Vec<Column>,
    /// Indexes of the primary key's columns, in key order; empty without a key.
    key: Vec<usize>,
}

#[derive(Debug)]
struct Column {
    name: String,
    data_type: String,
}

impl Table {
    pub(super) async fn describe(conn: &mut Conn, database: &str, name: &str) -> Result<Table> {
        let columns: Vec<(String, String)> = conn
            .exec(
                "SELECT COLUMN_NAME, LOWER(DATA_TYPE) FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
                (database, name),
            )
            .await?;
        let key: Vec<String> = conn
            .exec(
                "SELECT COLUMN_NAME FROM information_schema.STATISTICS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' \
                 ORDER BY SEQ_IN_INDEX",
                (database, name),
            )
            .await?;
        let columns: Vec<Column> =
            columns.into_iter().map(|(name, data_type)| Column { name, data_type }).collect();
        let place = |wanted: &String| columns.iter().position(|column| column.name == *wanted);
        let key = key.iter().filter_map(place).collect();
        Ok(Table { database: database.to_owned(), name: name.to_owned(), columns, key })
    }

    /// Says how the two lists of column names differ, if they do. Their order does not matter.
    pub(super) fn column_difference(&self, target: &Table) -> Option<String> {
        let missing = self.names_not_in(target);
        let extra = target.names_not_in(self);
        (!missing.is_empty() || !extra.is_empty())
            .then(|| format!("columns missing in the target {missing:?}, only there {extra:?}"))
    }

    fn names_not_in<'a>(&'a self, other: &Table) -> Vec<&'a str> {
        let names = self.columns.iter().map(|column| column.name.as_str());
        names.filter(|name| other.columns.iter().all(|column| column.name != *name)).collect()
    }

    /// Reads both sides row by row and notes every difference.
    pub(super) async fn compare_rows(
        &self,
        source: &mut Conn,
        target: &mut Conn,
        other: &Table,
        findings: &mut Findings,
    ) -> Result<()> {
        let orders = self.orders();
        let statements = [self.select(&self.database), self.select(&other.database)];
        let mut source = Side::open(source, &statements[0], orders.len()).await?;
        let mut target = Side::open(target, &statements[1], orders.len()).await?;
        let (mut left, mut right) = tokio::try_join!(source.next(), target.next())?;
        loop {
            let order = match (&left, &right) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => compare_keys(&left.key, &right.key, &orders),
            };
            let detail = self.judge(order, left.as_ref(), right.as_ref());
            if let Some(detail) = detail {
                findings.add(&self.database, &self.name, detail);
            }
            if order.is_le() {
                findings.add_row();
            }
            match order {
                Ordering::Less => left = source.next().await?,
                Ordering::Greater => right = target.next().await?,
                Ordering::Equal => {
                    (left, right) = tokio::try_join!(source.next(), target.next())?;
                }
            }
        }
    }

    /// What is wrong with the next row of each side, given how their keys compare.
    fn judge(
        &self,
        order: Ordering,
        left: Option<&Cells>,
        right: Option<&Cells>,
    ) -> Option<String> {
        match (order, left, right) {
            (Ordering::Less, Some(left), _) => {
                Some(format!("row {} is missing in the target", self.row_name(left)))
            }
            (Ordering::Greater, _, Some(right)) => {
                Some(format!("row {} is only in the target", self.row_name(right)))
            }
            (_, Some(left), Some(right)) => self.cell_difference(left, right),
            _ => None,
        }
    }

    fn cell_difference(&self, left: &Cells, right: &Cells) -> Option<String> {
        let mut pairs = left.values.iter().zip(&right.values);
        let column = pairs.position(|(left, right)| left != right)?;
        Some(format!(
            "row {}, column {}: source {}, target {}",
            self.row_name(left),
            self.columns[column].name,
            show(&left.values[column]),
            show(&right.values[column])
        ))
    }

    fn row_name(&self, cells: &Cells) -> String {
        let part = |column: usize| (&self.columns[column].name, &cells.values[column]);
        let parts: Vec<_> = match self.key.as_slice() {
            [] => (0..self.columns.len().min(4)).map(part).collect(),
            key => key.iter().map(|column| part(*column)).collect(),
        };
        let parts: Vec<String> =
            parts.iter().map(|(name, value)| format!("{name}={}", show(value))).collect();
        format!("({})", parts.join(", "))
    }

    /// How each leading column of [`Table::select`] compares.
    fn orders(&self) -> Vec<Order> {
        match self.key.as_slice() {
            [] => vec![Order::Bytes],
            key => key.iter().map(|column| self.columns[*column].order()).collect(),
        }
    }

    /// Ordering expressions first, then every column of `self`, from the table in `database`.
    fn select(&self, database: &str) -> String {
        let mut list: Vec<String> = match self.key.as_slice() {
            [] => vec![self.digest()],
            key => key.iter().map(|column| self.columns[*column].order_expression()).collect(),
        };
        let positions: Vec<String> = (1..=list.len()).map(|place| place.to_string()).collect();
        list.extend(self.columns.iter().map(Column::expression));
        format!(
            "SELECT {} FROM {}.{} ORDER BY {}",
            list.join(", "),
            quote(database),
            quote(&self.name),
            positions.join(", ")
        )
    }

    fn digest(&self) -> String {
        // SHA2, because MySQL 9.6 moved MD5 into an optional component.
        let cell = |column: &Column| format!("IFNULL(SHA2({}, 256), '-')", column.expression());
        let cells: Vec<String> = self.columns.iter().map(cell).collect();
        format!("CAST(SHA2(CONCAT({}), 256) AS BINARY)", cells.join(", "))
    }
}

impl Column {
    /// The column as it is compared.
    fn expression(&self) -> String {
        match self.data_type.as_str() {
            "float" => format!("({} + 0e0)", quote(&self.name)),
            _ => quote(&self.name),
        }
    }

    /// The column as rows are ordered by it: bare where that order is the same everywhere, so that the
    /// primary key's index serves.
    fn order_expression(&self) -> String {
        let natural = self.order() == Order::Integer
            || matches!(
                self.data_type.as_str(),
                "date" | "datetime" | "timestamp" | "year" | "binary" | "varbinary"
            );
        match natural {
            true => quote(&self.name),
            false => format!("CAST({} AS BINARY)", self.expression()),
        }
    }

    fn order(&self) -> Order {
        match self.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Order::Integer,
            _ => Order::Bytes,
        }
    }
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str)], key: &[usize]) -> Table {
        let column = |(name, data_type): &(&str, &str)| Column {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
        };
        let columns = columns.iter().map(column).collect();
        Table { database: "d".to_owned(), name: "t".to_owned(), columns, key: key.to_vec() }
    }

    #[test]
    fn text_keys_are_ordered_by_their_bytes_and_integers_by_the_index() {
        let statement = table(&[("id", "int"), ("name", "varchar")], &[1, 0]).select("x__d");
        let expected =
            "SELECT CAST(`name` AS BINARY), `id`, `id`, `name` FROM `x__d`.`t` ORDER BY 1, 2";
        assert_eq!(statement, expected);
    }
}
