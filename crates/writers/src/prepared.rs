//! mysql_async, prepared; in bulk where the server is MariaDB.

use crate::telemetry::{Telemetry, UPSERT, watermark};
use anyhow::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

pub(crate) async fn write(url: &str, transactions: &[Vec<Telemetry>]) -> Result<()> {
    let mut conn = Conn::new(Opts::from_url(url)?).await?;
    let sql =
        format!("INSERT INTO bench.readings (id,sensor,at,value,unit) VALUES (?,?,?,?,?){UPSERT}");
    let statement = conn.prep(sql).await?;
    for rows in transactions {
        conn.query_drop("START TRANSACTION").await?;
        let params = rows.iter().map(|row| (row.id, row.sensor, &row.at, row.value, row.unit));
        conn.exec_batch(&statement, params).await?;
        conn.query_drop(format!("{};COMMIT", watermark(rows))).await?;
    }
    conn.disconnect().await?;
    Ok(())
}
