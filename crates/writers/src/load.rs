//! LOAD DATA LOCAL, of rows that replace those with their key.

use crate::telemetry::{Telemetry, watermark};
use anyhow::Result;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::fmt::Write;

const LOAD: &str = "START TRANSACTION;LOAD DATA LOCAL INFILE 'rows' REPLACE INTO TABLE bench.readings \
                    CHARACTER SET binary (id,sensor,at,value,unit)";

pub(crate) async fn write(url: &str, transactions: &[Vec<Telemetry>]) -> Result<()> {
    let mut conn = Conn::new(Opts::from_url(url)?).await?;
    for rows in transactions {
        let mut file = String::new();
        for Telemetry { id, sensor, at, value, unit } in rows {
            let _ = writeln!(file, "{id}\t{sensor}\t{at}\t{value}\t{unit}");
        }
        let file = Bytes::from(file);
        conn.set_infile_handler(async move { Ok(stream::iter([Ok(file)]).boxed()) });
        conn.query_drop(LOAD).await?;
        conn.query_drop(format!("{};COMMIT", watermark(rows))).await?;
    }
    conn.disconnect().await?;
    Ok(())
}
