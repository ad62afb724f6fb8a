//! SQL files as they are, byte by byte.

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tributary_testkit::MySqlServer;
use tributary_testkit::stack::connect;

/// Runs a whole file on a connection of its own. The server takes it apart, which it does exactly, in whatever
/// character set a statement before has set.
pub(super) async fn run(server: &MySqlServer, statements: &[u8]) -> Result<()> {
    let mut conn = connect(server).await?;
    // As a client program begins: the server's own default collation, not our driver's.
    conn.query_drop("SET NAMES utf8mb4").await?;
    let outcome = all(&mut conn, statements).await;
    let ended = conn.disconnect().await;
    outcome?;
    Ok(ended?)
}

async fn all(conn: &mut Conn, statements: &[u8]) -> Result<()> {
    let trimmed = statements.trim_ascii();
    if trimmed.is_empty() {
        return Ok(());
    }
    let mut result = conn.query_iter(trimmed).await.context("statement 1 is refused")?;
    let mut nth = 1;
    while !result.is_empty() {
        result
            .collect::<mysql_async::Row>()
            .await
            .with_context(|| format!("statement {} is refused", nth + 1))?;
        nth += 1;
    }
    Ok(())
}
