//! Questions about the applications' tables, for the filter.

use super::{QUERY_TIMEOUT, Source, lost_or_refused};
use crate::Error;
use crate::capture::SYSTEM_DATABASES;
use crate::check::tables::Keyless;
use crate::filter::survey::{ColumnFacts, KeyFacts};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tributary_schema::quote;

// === impl Source ===

impl Source {
    /// Asks one question and takes its answer row by row.
    async fn each(&mut self, sql: &str, take: impl FnMut(Row)) -> Result<(), Error> {
        let address = self.address.clone();
        let answer = async { self.conn.query_iter(sql).await?.for_each_and_drop(take).await };
        let answer = tokio::time::timeout(QUERY_TIMEOUT, answer).await;
        let timed_out =
            || mysql_async::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        answer
            .unwrap_or_else(|_| Err(timed_out()))
            .map_err(|error| lost_or_refused(&address, error))
    }

    /// The applications' tables: database and name.
    ///
    /// # Errors
    /// As every question.
    pub async fn base_tables(&mut self) -> Result<Vec<(String, String)>, Error> {
        let system = SYSTEM_DATABASES.map(|name| format!("'{name}'")).join(",");
        let sql = format!(
            "SELECT table_schema, table_name FROM information_schema.tables \
             WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_schema NOT IN ({system})"
        );
        self.query(&sql).await
    }

    /// The applications' databases.
    ///
    /// # Errors
    /// As every question.
    pub async fn databases(&mut self) -> Result<Vec<String>, Error> {
        let sql = "SELECT schema_name FROM information_schema.schemata";
        let names: Vec<String> = self.query(sql).await?;
        Ok(names.into_iter().filter(|name| !SYSTEM_DATABASES.contains(&name.as_str())).collect())
    }

    /// Every table of the applications, as database and table, and whether it is one that holds rows.
    ///
    /// # Errors
    /// As every question.
    pub async fn tables(
        &mut self,
        mut take: impl FnMut((String, String), bool),
    ) -> Result<(), Error> {
        let sql = format!(
            "SELECT table_schema, table_name, table_type NOT IN ('VIEW', 'SEQUENCE') \
             FROM information_schema.tables WHERE {}",
            of_applications()
        );
        self.each(&sql, |row| take((text(&row, 0), text(&row, 1)), text(&row, 2) == "1")).await
    }

    /// The applications' tables without a primary key, those with most rows first.
    ///
    /// # Errors
    /// As every question.
    pub(crate) async fn keyless(&mut self) -> Result<Vec<Keyless>, Error> {
        let sql = format!(
            "SELECT table_schema, table_name, table_rows, engine FROM information_schema.tables t \
             WHERE table_type = 'BASE TABLE' AND {} AND NOT EXISTS (SELECT 1 \
             FROM information_schema.table_constraints c WHERE c.table_schema = t.table_schema \
             AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY') \
             ORDER BY table_rows DESC, table_schema, table_name",
            of_applications()
        );
        let mut tables = Vec::new();
        self.each(&sql, |row| {
            tables.push(Keyless {
                name: format!("{}.{}", quote(&text(&row, 0)), quote(&text(&row, 1))),
                rows: text(&row, 2).parse().unwrap_or(0),
                engine: text(&row, 3),
            });
        })
        .await?;
        Ok(tables)
    }

    /// Every column of the applications' unique indexes.
    ///
    /// # Errors
    /// As every question.
    pub async fn unique_columns(&mut self, mut take: impl FnMut(KeyFacts)) -> Result<(), Error> {
        let sql = format!(
            "SELECT table_schema, table_name, index_name, column_name \
             FROM information_schema.statistics WHERE non_unique = 0 AND {}",
            of_applications()
        );
        self.each(&sql, |row| {
            let table = (text(&row, 0), text(&row, 1));
            let column = Some(text(&row, 3)).filter(|name| !name.is_empty());
            take(KeyFacts { table, index: text(&row, 2), column });
        })
        .await
    }

    /// Every column of the applications' tables and views, one table after another.
    ///
    /// # Errors
    /// As every question.
    pub async fn columns(&mut self, mut take: impl FnMut(ColumnFacts)) -> Result<(), Error> {
        let sql = format!(
            "SELECT table_schema, table_name, column_name, is_nullable, data_type, \
             CAST(character_maximum_length AS CHAR), column_default, generation_expression \
             FROM information_schema.columns WHERE {} \
             ORDER BY table_schema, table_name, ordinal_position",
            of_applications()
        );
        self.each(&sql, |row| {
            let default = text(&row, 6);
            take(ColumnFacts {
                table: (text(&row, 0), text(&row, 1)),
                name: text(&row, 2),
                nullable: text(&row, 3) == "YES",
                data_type: text(&row, 4),
                characters: text(&row, 5).parse().ok(),
                // MariaDB writes the word.
                has_default: !(default.is_empty() || default == "NULL"),
                expression: text(&row, 7),
            });
        })
        .await
    }
}

/// Not in a database of the server's own.
fn of_applications() -> String {
    let system = SYSTEM_DATABASES.map(|name| format!("'{name}'")).join(",");
    format!("table_schema NOT IN ({system})")
}

/// A value as text, empty for NULL.
fn text(row: &Row, column: usize) -> String {
    let bytes = row.get_opt::<Option<Vec<u8>>, _>(column).and_then(Result::ok).flatten();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
