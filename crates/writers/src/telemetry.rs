//! What is written: readings of sensors, and a watermark in every transaction.

use std::fmt::Write;

pub(crate) const TABLE: &str = "bench.readings";
pub(crate) const TABLES: &[&str] = &[
    "DROP DATABASE IF EXISTS bench",
    "CREATE DATABASE bench",
    "CREATE TABLE bench.readings (id BIGINT PRIMARY KEY, sensor INT NOT NULL, at DATETIME(3) NOT NULL, value DOUBLE NOT NULL, unit VARCHAR(16) NOT NULL)",
    "CREATE TABLE bench.watermark (device VARCHAR(64) PRIMARY KEY, position BIGINT NOT NULL)",
];
pub(crate) const ROWS_PER_TRANSACTION: u32 = 1000;
pub(crate) const UPSERT: &str = " ON DUPLICATE KEY UPDATE sensor=VALUES(sensor),at=VALUES(at),value=VALUES(value),unit=VALUES(unit)";

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    pub(crate) id: u32,
    pub(crate) sensor: u32,
    pub(crate) at: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

impl Telemetry {
    /// The rows of one transaction. Those of another generation have the same keys and other values.
    pub(crate) fn transaction(first: u32, generation: u32) -> Vec<Self> {
        (first..first + ROWS_PER_TRANSACTION)
            .map(|id| Self {
                id,
                sensor: id % 97,
                at: format!("2026-01-01 00:{:02}:{:02}.{:03}", id / 60 % 60, id % 60, id % 1000),
                value: f64::from(id % 1000 * generation),
                unit: "celsius",
            })
            .collect()
    }

    /// How many rows there are then, and the sum of id times value.
    pub(crate) fn account(rows: u32, generation: u32) -> (u32, f64) {
        let sum = (0..rows).map(|id| f64::from(id) * f64::from(id % 1000 * generation)).sum();
        (rows, sum)
    }

    /// `(1,2,'…',3.5,'…')`
    pub(crate) fn literal(&self, sql: &mut String) {
        let Self { id, sensor, at, value, unit } = self;
        // Writing into a String does not fail.
        let _ = write!(sql, "({id},{sensor},'{at}',{value},'{unit}')");
    }
}

/// The statement of a transaction's rows, as text.
pub(crate) fn upsert(rows: &[Telemetry], sql: &mut String) {
    sql.push_str("INSERT INTO bench.readings (id,sensor,at,value,unit) VALUES ");
    for row in rows {
        row.literal(sql);
        sql.push(',');
    }
    sql.pop();
    sql.push_str(UPSERT);
}

pub(crate) fn watermark(rows: &[Telemetry]) -> String {
    let position = rows.last().map_or(0, |row| row.id);
    format!(
        "INSERT INTO bench.watermark VALUES ('DEVICE_001',{position}) ON DUPLICATE KEY UPDATE position=VALUES(position)"
    )
}

/// A whole transaction, as text.
pub(crate) fn transaction(rows: &[Telemetry]) -> String {
    let mut sql = String::from("START TRANSACTION;");
    upsert(rows, &mut sql);
    sql.push(';');
    sql.push_str(&watermark(rows));
    sql.push_str(";COMMIT");
    sql
}
