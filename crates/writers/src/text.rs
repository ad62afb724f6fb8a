//! mysql_async, text.

use crate::telemetry::{Telemetry, transaction};
use anyhow::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};

pub(crate) async fn write(url: &str, transactions: &[Vec<Telemetry>]) -> Result<()> {
    let mut conn = Conn::new(Opts::from_url(url)?).await?;
    for rows in transactions {
        conn.query_drop(transaction(rows)).await?;
    }
    conn.disconnect().await?;
    Ok(())
}
