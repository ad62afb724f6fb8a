//! The tables of a seed, and the transactions on them.

use super::Progress;
use super::kinds::Kinds;
use anyhow::{Context, Result};
use fastrand::Rng;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Collations by which the text keys of a seed compare, which both servers have.
const COLLATIONS: [&str; 6] = [
    "utf8mb4 COLLATE utf8mb4_bin",
    "utf8mb4 COLLATE utf8mb4_unicode_ci",
    "utf8mb4 COLLATE utf8mb4_general_ci",
    "utf8mb3 COLLATE utf8mb3_general_ci",
    "latin1 COLLATE latin1_german2_ci",
    "gbk COLLATE gbk_chinese_ci",
];
/// Keys that are near each other, or equal, by one collation or another.
const NEAR: [&str; 12] =
    ["a", "A", "ä", "ae", "a ", " a", "", "ß", "ss", "o'\\\\", "b\\n", "\\\"\\0"];
/// Larger rows are left out: no message takes them yet.
const BIG_BYTES: u32 = 200_000;

/// A connection to the seed's database. What a server refuses is counted and passed over.
pub(super) struct Session {
    conn: Conn,
    progress: Arc<Progress>,
}

impl Session {
    pub(super) async fn open(
        url: &str,
        database: &str,
        progress: Arc<Progress>,
    ) -> Result<Session> {
        let mut conn = Conn::new(Opts::from_url(url)?).await?;
        conn.query_drop("SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci").await?;
        conn.query_drop("SET SESSION lock_wait_timeout = 5, innodb_lock_wait_timeout = 2").await?;
        conn.query_drop(format!("USE {database}")).await?;
        Ok(Session { conn, progress })
    }

    /// True when the server took the statement.
    pub(super) async fn run(&mut self, statement: &str) -> Result<bool> {
        match self.conn.query_drop(statement).await {
            Ok(()) => Ok(true),
            Err(mysql_async::Error::Server(_)) => {
                self.progress.refused.fetch_add(1, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error).with_context(|| statement.to_owned()),
        }
    }

    pub(super) fn done(&self) {
        self.progress.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes the database and its tables.
pub(super) async fn create(
    url: &str,
    database: &str,
    random: &mut Rng,
    kinds: &Kinds,
) -> Result<()> {
    let mut conn = Conn::new(Opts::from_url(url)?).await?;
    let text = COLLATIONS[random.usize(..COLLATIONS.len())];
    let other = COLLATIONS[random.usize(..COLLATIONS.len())];
    for statement in [
        format!("CREATE DATABASE {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
        format!("USE {database}"),
        "CREATE TABLE keyed (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(200), at TIMESTAMP(3) NULL)".to_owned(),
        format!("CREATE TABLE composite (x SMALLINT, y VARCHAR(20) CHARACTER SET {text}, v DOUBLE, d DECIMAL(12,4), PRIMARY KEY (y, x))"),
        format!("CREATE TABLE names (k VARCHAR(40) CHARACTER SET {other} PRIMARY KEY, n INT)"),
        format!("CREATE TABLE bare (a INT, b VARCHAR(20) CHARACTER SET {text}, c BIT(9))"),
        "CREATE TABLE uniq (id INT PRIMARY KEY, u INT UNIQUE, w VARCHAR(20) UNIQUE, v INT)".to_owned(),
        "CREATE TABLE big (id INT PRIMARY KEY, body LONGBLOB)".to_owned(),
        "INSERT INTO uniq VALUES (1,1,'1',0),(2,2,'2',0),(3,3,'3',0),(4,4,'4',0),(5,5,'5',0),(6,6,NULL,0)".to_owned(),
    ] {
        conn.query_drop(&statement).await.with_context(|| statement.clone())?;
    }
    for statement in kinds.tables() {
        conn.query_drop(&statement).await.with_context(|| statement.clone())?;
    }
    Ok(conn.disconnect().await?)
}

/// So many transactions.
pub(super) async fn write(
    url: String,
    database: String,
    mut random: Rng,
    transactions: u64,
    progress: Arc<Progress>,
    kinds: Arc<Kinds>,
) -> Result<()> {
    let mut session = Session::open(&url, &database, progress).await?;
    let mut drawn = Rng::with_seed(random.u64(..));
    let mut next = |random: &mut Rng, alone| {
        let statement = kinds.statement(&mut drawn, alone).unwrap_or_else(|| statement(random));
        kinds.typed(&statement, &mut drawn)
    };
    for _ in 0..transactions {
        let alone = random.u32(..4) == 0;
        if !alone {
            session.run("BEGIN").await?;
        }
        for _ in 0..random.u32(1..=if alone { 1 } else { 6 }) {
            session.run(&next(&mut random, alone)).await?;
            if !alone && random.u32(..10) == 0 {
                session.run("SAVEPOINT s").await?;
                session.run(&next(&mut random, alone)).await?;
                session.run("ROLLBACK TO s").await?;
            }
        }
        session.run(if random.u32(..12) == 0 { "ROLLBACK" } else { "COMMIT" }).await?;
        session.done();
    }
    Ok(session.conn.disconnect().await?)
}

fn near(random: &mut Rng) -> String {
    format!("'{}{}'", NEAR[random.usize(..NEAR.len())], ["", "1", "2"][random.usize(..3)])
}

fn statement(random: &mut Rng) -> String {
    let n = random.u32(..);
    match random.u32(..24) {
        0..=3 => {
            let rows: Vec<String> = (0..random.u32(1..=8))
                .map(|_| {
                    format!("({}, REPEAT('é{}', {}))", random.i32(-9..9), n % 100, random.u32(..30))
                })
                .collect();
            format!("INSERT INTO keyed (a, b) VALUES {}", rows.join(","))
        }
        4 => format!("UPDATE keyed SET a = a + 1, at = NOW(3) WHERE a = {}", random.i32(-9..9)),
        5 => format!("UPDATE keyed SET id = id + 100000 WHERE a = {} LIMIT 2", random.i32(-9..9)),
        6 => format!("DELETE FROM keyed WHERE a = {} LIMIT 3", random.i32(-9..9)),
        7 => "INSERT INTO keyed (a, b) SELECT a, b FROM keyed LIMIT 300".to_owned(),
        8 | 9 => format!(
            "INSERT INTO composite VALUES ({}, {}, {:e}, {}.5) ON DUPLICATE KEY UPDATE v = v * 1.1, d = d + 1",
            random.i32(..4),
            near(random),
            random.f64(),
            n % 1000
        ),
        10 => format!("UPDATE composite SET x = x + 1 WHERE y = {} ORDER BY x DESC", near(random)),
        11 => format!("DELETE FROM composite WHERE y = {} LIMIT 2", near(random)),
        12 | 13 => format!("REPLACE INTO names VALUES ({}, {n})", near(random)),
        14 => format!("UPDATE names SET k = {} WHERE k = {}", near(random), near(random)),
        15 => format!("DELETE FROM names WHERE k = {}", near(random)),
        16 => format!(
            "INSERT INTO bare VALUES ({0}, {1}, {0}), ({0}, {1}, NULL), (NULL, NULL, 511)",
            n % 5,
            near(random)
        ),
        17 => format!(
            "UPDATE bare SET a = a + 1, c = {} WHERE a = {} LIMIT 2",
            n % 512,
            random.u32(..5)
        ),
        18 => format!("DELETE FROM bare WHERE a = {} OR a IS NULL LIMIT 2", random.u32(..5)),
        // Values of unique columns change places.
        19 => format!("UPDATE uniq SET u = -u, v = v + 1 WHERE id % 2 = {}", n % 2),
        20 => format!(
            "UPDATE uniq SET u = IF(u = {0}, NULL, u), w = IF(w = '{0}', NULL, w)",
            random.u32(..7)
        ),
        21 => format!(
            "UPDATE IGNORE uniq SET u = {0}, w = '{0}' WHERE u IS NULL OR w IS NULL LIMIT 1",
            random.u32(..9)
        ),
        22 => format!(
            "REPLACE INTO uniq VALUES ({}, {}, '{}', 0)",
            random.u32(..9),
            random.u32(..9),
            random.u32(..9)
        ),
        _ => format!(
            "REPLACE INTO big VALUES ({}, REPEAT(RANDOM_BYTES(200), {}))",
            n % 4,
            random.u32(..BIG_BYTES / 200)
        ),
    }
}
