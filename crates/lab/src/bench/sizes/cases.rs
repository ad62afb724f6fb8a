//! What is written for each case.

use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;
use mysql_async::prelude::Queryable;
use tributary_testkit::stack::{self, Device};

/// What the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// Small transactions of ordinary rows.
    #[value(name = "ordinary_rows")]
    Ordinary,
    /// One transaction of two million rows.
    #[value(name = "transaction_2m_rows")]
    ManyRows,
    /// One transaction of 1 GiB.
    #[value(name = "transaction_1_gib")]
    Gibibyte,
    /// The same, compressed by the server.
    #[value(name = "transaction_1_gib_compressed")]
    Compressed,
    /// One row with a value of 64 MiB, inserted and then updated.
    #[value(name = "row_64_mib")]
    LargeRow,
}

const ORDINARY_STATEMENTS: u32 = 20_000;
const ORDINARY_ROWS: u32 = 20;

impl Case {
    pub(super) const ALL: [Case; 5] =
        [Case::Ordinary, Case::ManyRows, Case::Gibibyte, Case::Compressed, Case::LargeRow];

    /// As it stands in reports.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// Writes it.
    pub(super) async fn write(self, device: &Device) -> Result<()> {
        let numbers = |n: u32| {
            format!(
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {n}) "
            )
        };
        // 8 KiB a row; as hexadecimal digits it compresses to half, which is what text does.
        let gibibyte = format!(
            "INSERT INTO app.large (v) {} SELECT HEX(AES_ENCRYPT(REPEAT('x', 4095), UUID(), RANDOM_BYTES(16))) FROM s",
            numbers(131_072)
        );
        let many = format!(
            "INSERT INTO app.t (at, n, v) {} SELECT NOW(3), n, UUID() FROM s",
            numbers(2_000_000)
        );
        let settings =
            ["SET cte_max_recursion_depth = 10000000", "SET block_encryption_mode = 'aes-256-cbc'"];
        let statements: Vec<String> = match self {
            Case::Ordinary => return ordinary(device).await,
            Case::ManyRows => vec![many],
            Case::Gibibyte => vec![gibibyte],
            Case::Compressed => {
                vec!["SET binlog_transaction_compression = ON".to_owned(), gibibyte]
            }
            Case::LargeRow => vec![
                "INSERT INTO app.large (v) SELECT AES_ENCRYPT(REPEAT('x', 67108863), UUID(), RANDOM_BYTES(16))".to_owned(),
                "UPDATE app.large SET id = id + 1".to_owned(),
            ],
        };
        let statements: Vec<&str> =
            settings.into_iter().chain(statements.iter().map(String::as_str)).collect();
        device.sql(&statements).await?;
        // The server may have begun another file of the log for a large transaction: no change is in it yet, so
        // no position of a change could reach its end.
        device.sql(&["INSERT INTO app.t (n) VALUES (0)"]).await
    }
}

/// Makes the tables.
pub(super) async fn prepare(device: &Device) -> Result<()> {
    device
        .sql(&[
            "SET GLOBAL max_allowed_packet = 1073741824",
            "CREATE DATABASE app",
            "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, at DATETIME(3), n INT, v VARCHAR(60))",
            "CREATE TABLE app.large (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)",
        ])
        .await
}

async fn ordinary(device: &Device) -> Result<()> {
    let mut conn = stack::connect(&device.server).await?;
    let mut sql = String::new();
    for n in 0..ORDINARY_STATEMENTS {
        sql.clear();
        sql.push_str("INSERT INTO app.t (at, n, v) VALUES ");
        for row in 0..ORDINARY_ROWS {
            let comma = if row > 0 { "," } else { "" };
            let _ = write!(sql, "{comma}(NOW(3), {}, 'sensor {row} reads {}')", n * 7, n ^ row);
        }
        conn.query_drop(&sql).await?;
    }
    Ok(())
}
