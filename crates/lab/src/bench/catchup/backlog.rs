//! What is written while nobody follows.

use std::fmt::Write as _;

use anyhow::Result;
use clap::ValueEnum;
use futures_util::future::try_join_all;
use mysql_async::prelude::Queryable;
use tributary_testkit::stack::{self, Device};

/// What the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Backlog {
    /// 15,000 transactions of 20 inserted and 4 upserted rows.
    #[value(name = "tx20")]
    Batches,
    /// 60,000 transactions of one row: 50,000 inserts and 10,000 upserts.
    #[value(name = "tx1")]
    Single,
    /// 15,000 transactions that update the same 20 rows.
    #[value(name = "hot")]
    Hot,
}

/// A backlog of a size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) transactions: u32,
    /// Row changes.
    pub(super) rows: u32,
    /// Rows that the tables hold in the end.
    pub(super) left: u32,
}

const TABLES: [&str; 3] = [
    "CREATE DATABASE bench",
    "CREATE TABLE bench.reading (id BIGINT PRIMARY KEY AUTO_INCREMENT, sensor INT NOT NULL, \
     at DATETIME(3) NOT NULL, value DOUBLE NOT NULL, unit VARCHAR(16) NOT NULL)",
    "CREATE TABLE bench.latest (sensor INT PRIMARY KEY, at DATETIME(3) NOT NULL, value DOUBLE NOT NULL, \
     unit VARCHAR(16) NOT NULL, readings BIGINT NOT NULL)",
];
const EMPTY: [&str; 3] = [
    "TRUNCATE bench.reading",
    "TRUNCATE bench.latest",
    "INSERT INTO bench.latest WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000) \
     SELECT n, NOW(3), n, 'celsius', 0 FROM s",
];
/// A replica or a shard gains nothing by a device that is slow to write, and the bench loses minutes. Put
/// back before anything is measured.
const FAST: [&str; 2] =
    ["SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 2"];
const DURABLE: [&str; 2] =
    ["SET GLOBAL sync_binlog = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1"];

const SENSORS: u32 = 1000;
const HOT: u32 = 20;
const INSERTS: u32 = 20;
const UPSERTS: u32 = 4;
/// Of the one-row transactions, so many are one upsert.
const ONE_UPSERT_IN: u32 = 6;
const WRITERS: u32 = 4;
/// Transactions in one packet to the server.
const PACKET: usize = 25;

/// Makes the tables.
pub(super) async fn prepare(device: &Device) -> Result<()> {
    device.sql(&TABLES).await
}

/// As if nothing had been written yet.
pub(super) async fn empty(device: &Device) -> Result<()> {
    device.sql(&EMPTY).await
}

impl Backlog {
    pub(super) const ALL: [Backlog; 3] = [Backlog::Batches, Backlog::Single, Backlog::Hot];

    /// As it stands in reports.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// Its size, `scale` times the usual one.
    pub(super) fn size(self, scale: f64) -> Size {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small share")]
        let times = |usual: u32| (f64::from(usual) * scale).ceil() as u32;
        match self {
            Backlog::Batches => {
                let transactions = times(15_000);
                let rows = transactions * (INSERTS + UPSERTS);
                Size { transactions, rows, left: transactions * INSERTS + SENSORS }
            }
            Backlog::Single => {
                let transactions = times(60_000);
                let upserts = transactions.div_ceil(ONE_UPSERT_IN);
                Size { transactions, rows: transactions, left: transactions - upserts + SENSORS }
            }
            Backlog::Hot => {
                let transactions = times(15_000);
                Size { transactions, rows: transactions * HOT, left: SENSORS }
            }
        }
    }

    /// Writes it, over several connections.
    pub(super) async fn write(self, device: &Device, size: Size) -> Result<()> {
        device.sql(&FAST).await?;
        let numbers: Vec<u32> = (0..size.transactions).collect();
        let share = numbers.len().div_ceil(WRITERS as usize).max(1);
        try_join_all(numbers.chunks(share).map(|share| self.write_share(device, share))).await?;
        device.sql(&DURABLE).await
    }

    async fn write_share(self, device: &Device, numbers: &[u32]) -> Result<()> {
        let mut conn = stack::connect(&device.server).await?;
        let mut sql = String::new();
        for packet in numbers.chunks(PACKET) {
            sql.clear();
            for &number in packet {
                self.transaction(number, &mut sql);
            }
            conn.query_drop(&sql).await?;
        }
        Ok(())
    }

    fn transaction(self, number: u32, sql: &mut String) {
        match self {
            Backlog::Batches => {
                sql.push_str("BEGIN;");
                insert(number, INSERTS, sql);
                upsert(number, anywhere(number, UPSERTS), UPSERTS, sql);
                sql.push_str("COMMIT;");
            }
            Backlog::Single if number.is_multiple_of(ONE_UPSERT_IN) => {
                upsert(number, anywhere(number, 1), 1, sql);
            }
            Backlog::Single => insert(number, 1, sql),
            Backlog::Hot => upsert(number, 1, HOT, sql),
        }
    }
}

/// What the sensors of a device read at one moment.
fn insert(number: u32, rows: u32, sql: &mut String) {
    sql.push_str("INSERT INTO bench.reading (sensor, at, value, unit) VALUES ");
    for row in 0..rows {
        let comma = if row > 0 { "," } else { "" };
        let n = number.wrapping_mul(rows).wrapping_add(row);
        let _ =
            write!(sql, "{comma}({},NOW(3),{},'{}')", mix(n) % SENSORS + 1, value(n), unit(row));
    }
    sql.push(';');
}

/// The first of `rows` neighbours.
fn anywhere(number: u32, rows: u32) -> u32 {
    mix(number) % (SENSORS / rows) * rows + 1
}

/// Neighbours, in the order of their key: writers never wait for each other in a circle.
fn upsert(number: u32, first: u32, rows: u32, sql: &mut String) {
    sql.push_str("INSERT INTO bench.latest VALUES ");
    for row in 0..rows {
        let comma = if row > 0 { "," } else { "" };
        let value = value(number.wrapping_mul(rows).wrapping_add(row));
        let _ = write!(sql, "{comma}({},NOW(3),{value},'{}',1)", first + row, unit(row));
    }
    sql.push_str(
        " AS new ON DUPLICATE KEY UPDATE at = new.at, value = new.value, unit = new.unit, \
         readings = latest.readings + 1;",
    );
}

/// A reading with two digits behind the point, which the sensor's number says nothing about.
fn value(n: u32) -> f64 {
    f64::from(mix(!n) % 10_000) / 100.0
}

fn unit(row: u32) -> &'static str {
    ["celsius", "percent", "hPa", "V"][row as usize % 4]
}

/// The same numbers in each run, in no order.
fn mix(n: u32) -> u32 {
    let mixed = (n ^ (n >> 16)).wrapping_mul(0x7feb_352d);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b) >> 4
}
