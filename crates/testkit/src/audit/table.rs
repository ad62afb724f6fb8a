//! One table: how its rows are read in an order that both servers share, and the merge of the two sides.
//!
//! Rows are ordered by the primary key. Where servers could disagree on an order (collations, ENUM, FLOAT),
//! the column is ordered by its bytes instead. A table without a primary key is ordered by a digest of
//! each row, so that equal rows, also repeated ones, meet; its floating point columns, whose text differs
//! between servers inside of expressions, follow as columns of their own.

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
    /// Whose rows alone are meant, where devices share the table.
    device: Option<String>,
}

/// The column that says whose a row is, in a table that devices share.
const DEVICE: &str = "device_id";

#[derive(Debug)]
struct Column {
    name: String,
    data_type: String,
}

/// One expression that both sides are asked for.
#[derive(Debug)]
struct Compared {
    /// Index of the column that it is about.
    column: usize,
    /// What of the column, in messages; empty for its text.
    aspect: &'static str,
    expression: String,
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
        Ok(Table {
            database: database.to_owned(),
            name: name.to_owned(),
            columns,
            key,
            device: None,
        })
    }

    /// The rows of one device in a table that several share; of everyone's table, if `device` is none.
    pub(super) fn of(mut self, device: Option<&str>) -> Table {
        if device.is_some() {
            self.columns.retain(|column| column.name != DEVICE);
            // The source's key is the one that orders both.
            self.key.clear();
        }
        Table { device: device.map(str::to_owned), ..self }
    }

    /// Whether a table that devices share holds anything of this one.
    pub(super) async fn has_rows_of(&self, conn: &mut Conn, device: &str) -> Result<bool> {
        let (database, name) = (quote(&self.database), quote(&self.name));
        let statement = format!("SELECT 1 FROM {database}.{name} WHERE {DEVICE} = ? LIMIT 1");
        Ok(conn.exec_first::<u8, _, _>(statement, (device,)).await?.is_some())
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
        let compared = self.compared(other);
        let select =
            |table: &Table| self.select(&table.database, table.device.as_deref(), &compared);
        let statements = [select(self), select(other)];
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
            let detail = self.judge(order, left.as_ref(), right.as_ref(), &compared);
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
        compared: &[Compared],
    ) -> Option<String> {
        match (order, left, right) {
            (Ordering::Less, Some(left), _) => {
                Some(format!("row {} is missing in the target", self.row_name(left)))
            }
            (Ordering::Greater, _, Some(right)) => {
                Some(format!("row {} is only in the target", self.row_name(right)))
            }
            (_, Some(left), Some(right)) => self.cell_difference(left, right, compared),
            _ => None,
        }
    }

    fn cell_difference(
        &self,
        left: &Cells,
        right: &Cells,
        compared: &[Compared],
    ) -> Option<String> {
        let mut pairs = left.values.iter().zip(&right.values);
        let place = pairs.position(|(left, right)| left != right)?;
        Some(format!(
            "row {}, column {}{}: source {}, target {}",
            self.row_name(left),
            self.columns[compared[place].column].name,
            compared[place].aspect,
            show(&left.values[place]),
            show(&right.values[place])
        ))
    }

    /// What is compared of each row: every column in order, then what their text does not show.
    fn compared(&self, other: &Table) -> Vec<Compared> {
        let columns = self.columns.iter().enumerate();
        let text = columns.clone().map(|(column, described)| Compared {
            column,
            aspect: "",
            expression: described.expression(),
        });
        let hidden = columns.filter_map(|(column, described)| {
            let twin = other.columns.iter().find(|twin| twin.name == described.name)?;
            let (aspect, expression) = described.hidden(twin)?;
            Some(Compared { column, aspect, expression })
        });
        text.chain(hidden).collect()
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
            [] => {
                let floats = self.columns.iter().filter(|column| column.is_float());
                std::iter::once(Order::Bytes).chain(floats.map(|_| Order::Float)).collect()
            }
            key => key.iter().map(|column| self.columns[*column].order()).collect(),
        }
    }

    /// Ordering expressions first, then what is compared, from the table in `database`.
    fn select(&self, database: &str, device: Option<&str>, compared: &[Compared]) -> String {
        let mut list: Vec<String> = match self.key.as_slice() {
            [] => {
                let floats = self.columns.iter().filter(|column| column.is_float());
                std::iter::once(self.digest(compared))
                    .chain(floats.map(Column::expression))
                    .collect()
            }
            key => key.iter().map(|column| self.columns[*column].order_expression()).collect(),
        };
        let positions: Vec<String> = (1..=list.len()).map(|place| place.to_string()).collect();
        list.extend(compared.iter().map(|compared| compared.expression.clone()));
        format!(
            "SELECT {} FROM {}.{}{} ORDER BY {}",
            list.join(", "),
            quote(database),
            quote(&self.name),
            device.map_or_else(String::new, |device| format!(" WHERE {DEVICE} = '{device}'")),
            positions.join(", ")
        )
    }

    /// Of everything but floating point numbers.
    fn digest(&self, compared: &[Compared]) -> String {
        // SHA2, because MySQL 9.6 moved MD5 into an optional component.
        let cells = compared.iter().filter(|compared| !self.columns[compared.column].is_float());
        let cells =
            cells.map(|compared| format!(", IFNULL(SHA2({}, 256), '-')", compared.expression));
        format!("CAST(SHA2(CONCAT(''{}), 256) AS BINARY)", cells.collect::<String>())
    }
}

impl Column {
    /// The column as it is compared.
    fn expression(&self) -> String {
        match self.data_type.as_str() {
            // A product keeps the sign of -0, which a sum with 0 loses.
            "float" => format!("({} * 1e0)", quote(&self.name)),
            _ => quote(&self.name),
        }
    }

    /// What two values that show the same text can still differ in: the number of an ENUM's or SET's
    /// member (the error value is 0, and reads like a member ''), and the types inside a JSON document
    /// (the DECIMAL 1.5 reads like the DOUBLE), which show in the size of its binary form. `JSON_ARRAY`
    /// builds that form anew, without the gaps that updates in place leave.
    fn hidden(&self, twin: &Column) -> Option<(&'static str, String)> {
        let name = quote(&self.name);
        match self.data_type.as_str() {
            "enum" | "set" => Some((" as a number", format!("CAST({name} AS UNSIGNED)"))),
            "json" if twin.data_type == "json" => {
                Some((" in binary size", format!("JSON_STORAGE_SIZE(JSON_ARRAY({name}))")))
            }
            _ => None,
        }
    }

    fn is_float(&self) -> bool {
        self.order() == Order::Float
    }

    /// The column as rows are ordered by it: bare where that order is the same everywhere, so that the
    /// primary key's index serves.
    fn order_expression(&self) -> String {
        if self.is_float() {
            return self.expression();
        }
        let natural = matches!(self.order(), Order::Integer | Order::Decimal)
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
            "decimal" => Order::Decimal,
            "float" | "double" => Order::Float,
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
        Table {
            database: "d".to_owned(),
            name: "t".to_owned(),
            columns,
            key: key.to_vec(),
            device: None,
        }
    }

    #[test]
    fn text_keys_are_ordered_by_their_bytes_and_integers_by_the_index() {
        let table = table(&[("id", "int"), ("name", "varchar")], &[1, 0]);
        let statement = table.select("x__d", None, &table.compared(&table));
        let expected =
            "SELECT CAST(`name` AS BINARY), `id`, `id`, `name` FROM `x__d`.`t` ORDER BY 1, 2";
        assert_eq!(statement, expected);
    }
}
