//! An application on a device: inserts, updates, deletes, changed primary keys, altered tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::task::JoinHandle;

/// A running workload on one device.
#[derive(Debug)]
pub struct Workload {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    task: JoinHandle<Result<WorkloadReport>>,
}

/// What a workload did.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkloadReport {
    /// Row changes committed.
    pub rows: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Statements that changed a table's definition.
    pub alterations: u64,
}

struct Application {
    conn: Conn,
    random: fastrand::Rng,
    /// Columns added to `orders`, and not dropped again.
    extra_columns: Vec<u64>,
    next_column: u64,
    next_key: u64,
    report: WorkloadReport,
}

const SCHEMA: [&str; 6] = [
    "CREATE DATABASE IF NOT EXISTS app",
    "USE app",
    "CREATE TABLE orders (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, \
     total DECIMAL(12,2) NOT NULL, note VARCHAR(200) CHARACTER SET utf8mb4, paid BOOLEAN NOT NULL DEFAULT 0, \
     changed_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), KEY (customer))",
    "CREATE TABLE telemetry (sensor SMALLINT UNSIGNED NOT NULL, at DATETIME(6) NOT NULL, value DOUBLE, \
     quality TINYINT, raw VARBINARY(32), PRIMARY KEY (sensor, at))",
    "CREATE TABLE settings (name VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY, slot INT NOT NULL UNIQUE, value TEXT CHARACTER SET utf8mb4)",
    "CREATE TABLE journal (at DATETIME(6) NOT NULL, line VARCHAR(100))",
];
const ALTER_EVERY: u64 = 150;

impl Workload {
    /// Starts it: about `transactions_per_second`, until it is stopped. The same seed makes the same
    /// statements.
    pub fn start(url: &str, seed: u64, transactions_per_second: u32) -> Workload {
        let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, url) = (Arc::clone(&stop), Arc::clone(&rows), url.to_owned());
        let task = tokio::spawn(async move {
            let mut application = Application::open(&url, seed).await?;
            let mut pace =
                tokio::time::interval(Duration::from_secs(1) / transactions_per_second.max(1));
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                application.transaction().await?;
                counted.store(application.report.rows, Ordering::Relaxed);
            }
            application.conn.disconnect().await?;
            Ok(application.report)
        });
        Workload { stop, rows, task }
    }

    /// Row changes committed so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Stops it after the transaction under way.
    ///
    /// # Errors
    /// The statement that failed, if one did.
    pub async fn finish(self) -> Result<WorkloadReport> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the workload panicked")?
    }
}

impl Application {
    async fn open(url: &str, seed: u64) -> Result<Application> {
        let mut conn = Conn::new(Opts::from_url(url)?).await?;
        for statement in SCHEMA {
            conn.query_drop(statement).await.context(statement)?;
        }
        let random = fastrand::Rng::with_seed(seed);
        let report = WorkloadReport::default();
        Ok(Application {
            conn,
            random,
            extra_columns: Vec::new(),
            next_column: 0,
            next_key: 0,
            report,
        })
    }

    async fn transaction(&mut self) -> Result<()> {
        if self.report.transactions % ALTER_EVERY == ALTER_EVERY - 1 {
            self.alter().await?;
        }
        self.run("BEGIN".to_owned()).await?;
        for _ in 0..self.random.u32(1..=4) {
            let statement = self.statement();
            self.report.rows += self.run(statement).await?;
        }
        // One in twenty is given up, and must leave no trace.
        if self.random.u32(..20) == 0 {
            self.run("ROLLBACK".to_owned()).await?;
        } else {
            self.run("COMMIT".to_owned()).await?;
        }
        self.report.transactions += 1;
        Ok(())
    }

    async fn run(&mut self, statement: String) -> Result<u64> {
        self.conn.query_drop(&statement).await.with_context(|| statement.clone())?;
        Ok(self.conn.affected_rows())
    }

    fn statement(&mut self) -> String {
        let random = &mut self.random;
        match random.u32(..100) {
            0..=29 => {
                let rows: Vec<String> = (0..random.u32(1..=10))
                    .map(|_| {
                        format!(
                            "({},{}.{:02},'订单 {}')",
                            random.u32(..500),
                            random.u32(..9999),
                            random.u32(..100),
                            random.u64(..)
                        )
                    })
                    .collect();
                format!("INSERT INTO orders (customer, total, note) VALUES {}", rows.join(","))
            }
            30..=49 => {
                let rows: Vec<String> = (0..random.u32(1..=20))
                    .map(|_| {
                        format!(
                            "({},NOW(6) + INTERVAL {} MICROSECOND,{},{},UNHEX('{:016x}'))",
                            random.u32(..100),
                            random.u32(..),
                            random.f64() * 1e3 - 500.0,
                            random.i32(-9..9),
                            random.u64(..)
                        )
                    })
                    .collect();
                format!(
                    "INSERT INTO telemetry VALUES {} ON DUPLICATE KEY UPDATE value = VALUES(value)",
                    rows.join(",")
                )
            }
            50..=64 => format!(
                "UPDATE orders SET paid = 1, total = total + 0.5, note = NULL WHERE customer = {}",
                random.u32(..500)
            ),
            65..=74 => format!("DELETE FROM orders WHERE customer = {} LIMIT 5", random.u32(..500)),
            75..=82 => {
                self.next_key += 1;
                format!(
                    "INSERT INTO settings VALUES ('key {0}', {0}, REPEAT('值', {1}))",
                    self.next_key,
                    random.u32(..40)
                )
            }
            // The primary key of some rows changes.
            83..=88 => format!(
                "UPDATE settings SET name = CONCAT(LEFT(name, 40), '-', {}) WHERE slot % 7 = {}",
                random.u16(..),
                random.u32(..7)
            ),
            // Values of a UNIQUE column move on by one, over each other.
            89..=91 => {
                format!("UPDATE settings SET slot = -slot WHERE slot % 5 = {}", random.u32(..5))
            }
            92..=96 => format!("INSERT INTO journal VALUES (NOW(6), 'line {}')", random.u32(..50)),
            97 => "UPDATE journal SET line = CONCAT(line, '!') ORDER BY at LIMIT 2".to_owned(),
            _ => "DELETE FROM journal ORDER BY at LIMIT 2".to_owned(),
        }
    }

    /// Adds a column, drops one, or replaces a table.
    async fn alter(&mut self) -> Result<()> {
        let drop = self.extra_columns.len() > 2;
        let statement = match (self.random.u32(..4), self.extra_columns.first().copied()) {
            (_, Some(column)) if drop => {
                self.extra_columns.remove(0);
                format!("ALTER TABLE orders DROP COLUMN extra_{column}")
            }
            (0, _) => {
                let table = format!("archive_{}", self.report.transactions);
                self.run(format!("CREATE TABLE {table} LIKE orders")).await?;
                format!("INSERT INTO {table} SELECT * FROM orders ORDER BY id LIMIT 20")
            }
            _ => {
                self.next_column += 1;
                self.extra_columns.push(self.next_column);
                format!(
                    "ALTER TABLE orders ADD COLUMN extra_{} INT NOT NULL DEFAULT {}",
                    self.next_column,
                    self.random.u32(..100)
                )
            }
        };
        self.run(statement).await?;
        self.report.alterations += 1;
        Ok(())
    }
}
