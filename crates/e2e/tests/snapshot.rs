//! Devices that hold data before the cloud hears of them, and devices whose log is lost.

use crate::lab::{DEADLINE, all_equal, options, progress, start, workloads};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use std::time::{Duration, Instant};
use tributary_testkit::Flavour::{self, MariaDb, MySql};
use tributary_testkit::stack::{Stack, StackOptions, connect};

const TABLES: &[&str] = &[
    "CREATE DATABASE kept CHARACTER SET latin1",
    "USE kept",
    "CREATE TABLE numbers (id INT PRIMARY KEY AUTO_INCREMENT, a BIGINT, b VARCHAR(40), c DOUBLE, d DECIMAL(20,4)) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    "INSERT INTO numbers (a, b, c, d) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT x.n * 7, CONCAT('row ', x.n, '-', y.n), x.n / 3, y.n / 7 FROM s x, s y WHERE y.n <= 30",
    "CREATE TABLE pairs (a INT, b VARCHAR(20) COLLATE latin1_general_cs, c DATETIME(3), v TEXT, PRIMARY KEY (b, a, c))",
    "INSERT INTO pairs SELECT id, CONCAT('Key', id % 100), '2024-01-01' + INTERVAL id SECOND, b FROM numbers WHERE id < 6000",
    "CREATE TABLE texts (k VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci PRIMARY KEY, v INT, UNIQUE (v))",
    "INSERT INTO texts SELECT CONCAT(CHAR(65 + id % 26), 'ä中', id), id FROM numbers WHERE id < 4000",
    "CREATE TABLE bytes (k VARBINARY(20) PRIMARY KEY, v BLOB)",
    "INSERT INTO bytes SELECT UNHEX(LEFT(SHA2(id, 256), 40)), REPEAT(CHAR(id % 256), id % 200) FROM numbers WHERE id < 3000",
    "CREATE TABLE keyless (id INT, v VARCHAR(20))",
    "INSERT INTO keyless SELECT id % 50, 'same' FROM numbers WHERE id < 3000",
    "CREATE TABLE made (id INT PRIMARY KEY, g INT AS (id * 2) STORED, w INT AS (id + 1) VIRTUAL, e ENUM('a','b') NOT NULL DEFAULT 'b', KEY (g)) COMMENT 'made of others'",
    "INSERT INTO made (id) SELECT id FROM numbers WHERE id < 500",
    "CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT of_numbers FOREIGN KEY (parent) REFERENCES numbers (id), CHECK (id > 0))",
    "INSERT INTO child SELECT id, id FROM numbers WHERE id < 100",
    "CREATE TABLE big (id INT PRIMARY KEY, v LONGBLOB)",
    "INSERT INTO big VALUES (1, REPEAT('x', 3000000)), (2, REPEAT(X'00ff', 900000)), (3, NULL)",
    "CREATE TABLE parts (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parts SELECT id, id FROM numbers WHERE id < 300",
    "CREATE TABLE nothing (id INT PRIMARY KEY)",
    "CREATE VIEW a_sum AS SELECT b.n FROM (SELECT COUNT(*) AS n FROM z_count) b",
];

/// A view that another reads, and code that is kept.
const CODE: &[&str] = &[
    "USE kept",
    "CREATE TRIGGER made_before BEFORE INSERT ON made FOR EACH ROW SET NEW.e = 'a'",
    "CREATE PROCEDURE count_all() SELECT COUNT(*) FROM numbers",
];

async fn fill(stack: &Stack) -> Result<()> {
    for device in &stack.devices {
        let tables: Vec<&str> =
            TABLES.iter().copied().filter(|sql| !sql.contains("a_sum")).collect();
        device.sql(&tables).await?;
        device.sql(&["USE kept", "CREATE VIEW z_count AS SELECT id FROM numbers"]).await?;
        let views: Vec<&str> = TABLES.iter().copied().filter(|sql| sql.contains("a_sum")).collect();
        device.sql(&[&["USE kept"], &views[..]].concat()).await?;
        device.sql(CODE).await?;
        device.forget_log(DEADLINE).await?;
    }
    Ok(())
}

async fn equal(stack: &Stack) -> Result<()> {
    stack.caught_up(DEADLINE).await?;
    for device in &stack.devices {
        let verdict = stack.verdict(device).await?;
        assert!(verdict.equal() && verdict.rows > 40_000, "{verdict}\n{:#?}", verdict.differences);
    }
    Ok(())
}

async fn a_device_with_data_is_copied(flavour: Flavour) -> Result<()> {
    let mut stack = Stack::servers(&options(&[flavour], &[flavour], 1)?)?;
    fill(&stack).await?;
    stack.launch()?;
    stack.ready(DEADLINE).await?;
    equal(&stack).await?;
    // The log goes on from there.
    stack.devices[0]
        .sql(&[
            "UPDATE kept.big SET v = REPEAT('y', 2000000) WHERE id = 3",
            "DELETE FROM kept.texts WHERE v % 3 = 0",
        ])
        .await?;
    equal(&stack).await
}

#[tokio::test]
async fn a_mysql_device_with_data_is_copied() -> Result<()> {
    a_device_with_data_is_copied(MySql).await
}

#[tokio::test]
async fn a_mariadb_device_with_data_is_copied() -> Result<()> {
    a_device_with_data_is_copied(MariaDb).await
}

/// A copy of everything while everything is written to and killed.
async fn a_device_is_copied_while_it_is_written_to(flavour: Flavour) -> Result<()> {
    let mut stack = Stack::servers(&options(&[flavour], &[flavour], 2)?)?;
    fill(&stack).await?;
    stack.launch()?;
    let running = workloads(&stack, 200);
    for round in 0..4 {
        progress(&running, 300).await?;
        stack.devices[0].publisher.kill();
        stack.devices[0].publisher.start()?;
        let worker = &mut stack.workers[round % 2];
        worker.kill();
        worker.start()?;
    }
    stack.ready(DEADLINE).await?;
    all_equal(&stack, running).await
}

#[tokio::test]
async fn a_mysql_device_is_copied_while_it_is_written_to() -> Result<()> {
    a_device_is_copied_while_it_is_written_to(MySql).await
}

#[tokio::test]
async fn a_mariadb_device_is_copied_while_it_is_written_to() -> Result<()> {
    a_device_is_copied_while_it_is_written_to(MariaDb).await
}

#[tokio::test]
async fn a_copy_whose_log_was_lost_is_replaced() -> Result<()> {
    for flavour in Flavour::ALL {
        let mut stack = start(&options(&[flavour], &[flavour], 1)?).await?;
        let running = workloads(&stack, 200);
        progress(&running, 500).await?;
        stack.devices[0]
            .sql(&["CREATE DATABASE gone", "CREATE TABLE gone.t (id INT PRIMARY KEY)"])
            .await?;
        stack.caught_up(DEADLINE).await?;
        stack.devices[0].publisher.kill();
        progress(&running, 500).await?;
        stack.devices[0].sql(&["DROP DATABASE gone"]).await?;
        stack.devices[0].forget_log(DEADLINE).await?;
        stack.devices[0].publisher.start()?;
        progress(&running, 500).await?;
        stack.ready(DEADLINE).await?;
        all_equal(&stack, running).await.with_context(|| flavour.to_string())?;
    }
    Ok(())
}

/// What happens to a table `{}_slow` of which a part is copied, and to its rows right after that.
const IN_BETWEEN: [&[&str]; 9] = [
    // The snapshot has passed when there is one again.
    &[
        "ALTER TABLE {}_slow ADD c INT",
        "DROP TABLE {}_slow",
        "DO SLEEP(1)",
        "CREATE TABLE IF NOT EXISTS {}_slow (id INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(40), other INT)",
        "INSERT INTO {}_slow (id, b) VALUES (7000, 'again')",
    ],
    &["RENAME TABLE {}_slow TO {}_first", "INSERT INTO {}_first (b) VALUES ('new')"],
    &["RENAME TABLE {}_slow TO {}_then", "INSERT INTO {}_then (b) VALUES ('new')"],
    &[
        "ALTER TABLE {}_slow MODIFY id INT, DROP PRIMARY KEY",
        "UPDATE {}_slow SET b = 'x' WHERE id % 7 = 0",
    ],
    &[
        "ALTER TABLE {}_slow MODIFY id INT, DROP PRIMARY KEY, ADD PRIMARY KEY (other)",
        "DELETE FROM {}_slow WHERE id % 3 = 0",
    ],
    &[
        "ALTER TABLE {}_slow MODIFY id BIGINT AUTO_INCREMENT, ADD c INT",
        "UPDATE {}_slow SET c = id",
    ],
    &["TRUNCATE TABLE {}_slow", "INSERT INTO {}_slow (b) VALUES ('one'), ('two')"],
    &["DROP TABLE {}_slow"],
    &[
        "CREATE TABLE {}_new LIKE {}_slow",
        "INSERT INTO {}_new SELECT id + 100000, b, other FROM {}_slow",
        "RENAME TABLE {}_slow TO {}_old, {}_new TO {}_slow",
        "DELETE FROM {}_slow WHERE id % 3 = 0",
    ],
];

/// The part of a table that is not copied yet is not forgotten.
async fn tables_change_their_definitions_while_they_are_copied(flavour: Flavour) -> Result<()> {
    let options = StackOptions {
        publisher_sections: "[snapshot]\nrows_per_second = 2000\n".to_owned(),
        ..options(&[flavour], &[flavour], 1)?
    };
    let mut stack = Stack::servers(&options)?;
    let device = &stack.devices[0];
    device.sql(&["CREATE DATABASE app", "USE app"]).await?;
    let cases = ('a'..).zip(IN_BETWEEN);
    for (name, _) in cases.clone() {
        let table = format!(
            "CREATE TABLE {name}_slow (id INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(40), other INT)"
        );
        let rows = format!(
            "INSERT INTO {name}_slow (b, other) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s \
             WHERE n < 80) SELECT CONCAT('row ', x.n), 10000 - x.n * 80 - y.n FROM s x, s y"
        );
        device.sql(&["USE app", &table, &rows]).await?;
    }
    device.forget_log(DEADLINE).await?;
    stack.launch()?;
    for (name, between) in cases {
        a_part_is_copied(&stack, &format!("{name}_slow")).await?;
        let statements: Vec<String> =
            between.iter().map(|sql| sql.replace("{}", &name.to_string())).collect();
        let statements = statements.iter().map(String::as_str);
        let statements: Vec<&str> = std::iter::once("USE app").chain(statements).collect();
        stack.devices[0].sql(&statements).await?;
    }
    stack.ready(DEADLINE).await?;
    stack.caught_up(DEADLINE).await?;
    let verdict = stack.verdict(&stack.devices[0]).await?;
    assert!(verdict.equal(), "{flavour}: {verdict}\n{:#?}", verdict.differences);
    Ok(())
}

async fn a_part_is_copied(stack: &Stack, table: &str) -> Result<()> {
    let mut shard = connect(&stack.shards[0].server).await?;
    let sql = format!("SELECT COUNT(*) FROM DEVICE_001__app.{table}");
    let until = Instant::now() + DEADLINE;
    loop {
        let copied: u32 = shard.query_first(&sql).await.ok().flatten().unwrap_or(0);
        if copied > 0 {
            // On a slow machine it may be all of it: the case then says less.
            println!("{copied} rows of {table} are copied");
            return Ok(());
        }
        assert!(Instant::now() < until, "nothing of {table} is copied");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn mysql_tables_change_their_definitions_while_they_are_copied() -> Result<()> {
    tables_change_their_definitions_while_they_are_copied(MySql).await
}

#[tokio::test]
async fn mariadb_tables_change_their_definitions_while_they_are_copied() -> Result<()> {
    tables_change_their_definitions_while_they_are_copied(MariaDb).await
}
