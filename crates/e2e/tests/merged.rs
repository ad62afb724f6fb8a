//! The layout `merged`: the rows of every device, in one set of tables.

use crate::lab::{DEADLINE, options, progress, workloads};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use std::collections::BTreeSet;
use tributary_testkit::Flavour::{self, MariaDb, MySql};
use tributary_testkit::stack::{Device, Stack, connect};

/// Tables, or columns, in order.
async fn names(conn: &mut Conn, question: String) -> Result<Vec<String>> {
    conn.query(&question).await.context(question)
}

async fn tables(conn: &mut Conn) -> Result<Vec<String>> {
    let sql = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
               WHERE table_schema = 'app' AND table_type = 'BASE TABLE' ORDER BY 1";
    names(conn, sql.to_owned()).await
}

/// The rows of a table, as text, in the order of their text.
async fn rows(conn: &mut Conn, table: &str, columns: &str, of: &str) -> Result<Vec<String>> {
    let sql = format!("SELECT {columns} FROM app.`{table}` {of}");
    let rows: Vec<Row> = conn.query(&sql).await.context(sql)?;
    let mut rows: Vec<String> = rows.into_iter().map(|row| format!("{:?}", row.unwrap())).collect();
    rows.sort();
    Ok(rows)
}

/// Compares what the shard holds of a device with the device, and returns how many rows that are.
async fn compare(stack: &Stack, device: &Device) -> Result<usize> {
    let mut source = connect(&device.server).await?;
    let mut shard = connect(&stack.shards[0].server).await?;
    let of = format!("WHERE device_id = '{}'", device.id);
    let own: BTreeSet<String> = tables(&mut source).await?.into_iter().collect();
    let mut count = 0;
    for table in &own {
        let columns = format!(
            "SELECT CONCAT('`', column_name, '`') FROM information_schema.columns \
             WHERE table_schema = 'app' AND table_name = '{table}' ORDER BY ordinal_position"
        );
        let columns = names(&mut source, columns).await?.join(",");
        let held = rows(&mut source, table, &columns, "").await?;
        let copied = rows(&mut shard, table, &columns, &of).await?;
        assert_eq!(held.len(), copied.len(), "{}: rows of {table}", device.id);
        for (held, copied) in held.iter().zip(&copied) {
            assert_eq!(held, copied, "{}: {table}", device.id);
        }
        count += held.len();
    }
    for table in tables(&mut shard).await?.iter().filter(|table| !own.contains(*table)) {
        let left = rows(&mut shard, table, "*", &of).await?;
        assert!(left.is_empty(), "{}: {table} is gone, its rows are not: {left:?}", device.id);
    }
    Ok(count)
}

/// Devices of different servers and versions, one of which held data before; all of them alter their
/// tables, each in its own time, while a worker and a publisher are killed.
async fn devices_share_the_tables_of(shard: Flavour) -> Result<()> {
    let mut stack = Stack::servers(&tributary_testkit::stack::StackOptions {
        worker_settings: "layout = \"merged\"".to_owned(),
        ..options(&[MySql, MariaDb, MySql], &[shard], 2)?
    })?;
    stack.devices[2]
        .sql(&[
            "CREATE DATABASE app",
            "CREATE TABLE app.kept (id INT PRIMARY KEY, v VARCHAR(20))",
            "INSERT INTO app.kept VALUES (1, 'a'), (2, 'b')",
        ])
        .await?;
    stack.devices[2].forget_log(DEADLINE).await?;
    stack.launch()?;
    stack.ready(DEADLINE).await?;
    let running = workloads(&stack, 100);
    progress(&running, 300).await?;
    stack.workers[0].kill();
    stack.workers[0].start()?;
    stack.devices[1].publisher.kill();
    stack.devices[1].publisher.start()?;
    progress(&running, 600).await?;
    for workload in running {
        workload.finish().await?;
    }
    stack.caught_up(DEADLINE).await?;
    for device in &stack.devices {
        let rows = compare(&stack, device).await?;
        assert!(rows > 100, "{}: {rows} rows", device.id);
    }
    Ok(())
}

#[tokio::test]
async fn devices_share_the_tables_of_a_mysql_shard() -> Result<()> {
    devices_share_the_tables_of(MySql).await
}

#[tokio::test]
async fn devices_share_the_tables_of_a_mariadb_shard() -> Result<()> {
    devices_share_the_tables_of(MariaDb).await
}
