//! SQL files as they are, byte by byte.

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tributary_testkit::MySqlServer;
use tributary_testkit::stack::connect;

/// Runs a whole file on a connection of its own, and returns what the server refused. The server takes the file
/// apart, which it does exactly, in whatever character set a statement before has set. What follows a statement
/// that is refused is run all the same.
pub(super) async fn run(server: &MySqlServer, file: &[u8]) -> Result<Vec<String>> {
    let mut conn = connect(server).await?;
    // As a client program begins: the server's own default collation, not our driver's.
    conn.query_drop("SET NAMES utf8mb4").await?;
    let mut refused = Vec::new();
    let mut rest = file.trim_ascii();
    while !rest.is_empty() {
        let (done, error) = all(&mut conn, rest).await;
        let Some(error) = error else { break };
        refused.push(format!("{error} behind statement {done}"));
        rest = behind(rest, done + 1);
    }
    conn.disconnect().await?;
    Ok(refused)
}

/// How many statements the server took, and why it did not take the next one.
async fn all(conn: &mut Conn, statements: &[u8]) -> (usize, Option<mysql_async::Error>) {
    let mut result = match conn.query_iter(statements).await {
        Ok(result) => result,
        Err(error) => return (0, Some(error)),
    };
    let mut done = 0;
    while !result.is_empty() {
        if let Err(error) = result.collect::<mysql_async::Row>().await {
            return (done, Some(error));
        }
        done += 1;
    }
    drop(result);
    // Where it is about the next statement, the driver keeps it for the next call.
    (done, conn.query_drop("DO 0").await.err())
}

/// What stands behind so many statements. Quotes and comments are those of an ASCII client, which is enough for
/// files in which something is refused.
fn behind(file: &[u8], count: usize) -> &[u8] {
    let mut place = 0;
    for _ in 0..count {
        place += statement(&file[place..]);
    }
    file[place..].trim_ascii()
}

/// The length of the first statement, with its semicolon.
fn statement(text: &[u8]) -> usize {
    let mut place = 0;
    while let Some(byte) = text.get(place) {
        let rest = &text[place..];
        place += match byte {
            b';' => return place + 1,
            b'\'' | b'"' | b'`' => quoted(rest, *byte),
            b'#' => up_to(rest, b"\n"),
            b'-' if rest.starts_with(b"-- ") => up_to(rest, b"\n"),
            b'/' if rest.starts_with(b"/*") => up_to(rest, b"*/"),
            _ => 1,
        };
    }
    text.len()
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut place = 1;
    while let Some(byte) = text.get(place) {
        place += if *byte == b'\\' && quote != b'`' { 2 } else { 1 };
        if *byte == quote {
            break;
        }
    }
    place.min(text.len())
}

fn up_to(text: &[u8], end: &[u8]) -> usize {
    let found = text.windows(end.len()).position(|window| window == end);
    found.map_or(text.len(), |place| place + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_statement_is_found_behind_quotes_and_comments() {
        let file = b"SELECT ';''\\';' /* ; */, `;` -- ;\n; SELECT 2; # ;\nSELECT 3";
        assert_eq!(behind(file, 1), b"SELECT 2; # ;\nSELECT 3");
        assert_eq!(behind(file, 2), b"# ;\nSELECT 3");
        assert_eq!(behind(file, 3), b"");
        assert_eq!(behind(file, 9), b"");
    }
}
