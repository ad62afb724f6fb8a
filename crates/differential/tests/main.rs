//! One binlog, two decoders, value by value.
//!
//! A real server writes the log; `mysql-binlog-connector-rust` and `tributary-binlog` read the same file.
//! Where they differ, the difference must be one of the known faults of the other decoder, under the
//! exact condition under which that fault shows ([`faults`]).

mod events;
mod faults;
mod oracle;
mod ours;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer};

async fn two_decoders_read_the_same_values(flavour: Flavour) -> Result<()> {
    let server = MySqlServer::start(flavour, &MySqlOptions::source())?;
    let options = mysql_async::Opts::from_url(&server.admin_url())?;
    let mut conn = mysql_async::Conn::new(options).await?;
    for statement in oracle::statements(flavour) {
        conn.query_drop(&statement).await.with_context(|| statement.clone())?;
    }
    conn.disconnect().await?;
    let log = std::fs::read(server.data_dir().join("binlog.000001"))?;

    let ours = ours::read(&log, flavour)?;
    let theirs = events::read(&log)?;
    ensure!(ours.len() == theirs.len(), "{} rows, the other has {}", ours.len(), theirs.len());
    ensure!(!ours.is_empty(), "nothing was compared");
    let (mut values, mut known) = (0, BTreeMap::new());
    for (row, theirs) in ours.iter().zip(&theirs) {
        let table = &row.table;
        ensure!(row.cells.len() == theirs.len(), "a row of {}: widths differ", table.table);
        for (column, (cell, value)) in table.columns.iter().zip(row.cells.iter().zip(theirs)) {
            // The row before a change: a table with a key carries its key alone.
            let Some(cell) = cell else { continue };
            values += 1;
            if let Some(fault) = faults::difference(column, cell, value)
                .with_context(|| format!("{}.{}", table.table, column.name))?
            {
                *known.entry(fault).or_insert(0) += 1;
            }
        }
    }
    println!(
        "{flavour}: {values} values of {} rows; known faults of the other: {known:?}",
        ours.len()
    );
    // A fault that no longer shows is no exception any more.
    for fault in faults::of(flavour) {
        ensure!(known.contains_key(&fault), "this fault did not show: {fault:?}");
    }
    Ok(())
}

#[tokio::test]
async fn two_decoders_read_the_same_values_from_mysql() -> Result<()> {
    two_decoders_read_the_same_values(Flavour::MySql).await
}

#[tokio::test]
async fn two_decoders_read_the_same_values_from_mariadb() -> Result<()> {
    two_decoders_read_the_same_values(Flavour::MariaDb).await
}
