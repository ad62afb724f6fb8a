//! Whether a table is there, asked of the table itself.
//!
//! `information_schema` is no witness while someone else changes the table: MariaDB's shows none at all in the
//! moment in which an ALTER puts the new one in the old one's place, and two questions may be answered of two
//! versions of it. A question to the table waits for such a change, and in a transaction the table stays as it
//! is until that ends.

use crate::session::Session;
use crate::sql_error::SqlError;
use tributary_schema::quote;

/// No such table, no such database, no such column.
const MISSING: [u16; 3] = [1146, 1049, 1054];

/// True when the table is there, and has the column if one is named. Nobody changes the table before the
/// transaction ends, if there is one.
///
/// # Errors
/// [`SqlError`] when that cannot be known now. Whatever else the server says, such as that the account may not
/// read it, is said of a table that is there.
pub(crate) async fn hold(
    session: &mut Session,
    database: &str,
    table: &str,
    column: Option<&str>,
) -> Result<bool, SqlError> {
    let what = column.map_or_else(|| "1".to_owned(), quote);
    ask(session, &format!("SELECT {what} FROM {} LIMIT 0", name(database, table))).await
}

/// The same of a table that is about to be written to: whoever reads it first waits for one who changes it,
/// who waits for the reader.
///
/// # Errors
/// As of [`hold`].
pub(crate) async fn hold_to_write(
    session: &mut Session,
    database: &str,
    table: &str,
) -> Result<bool, SqlError> {
    ask(session, &format!("SELECT 1 FROM {} LIMIT 0 FOR UPDATE", name(database, table))).await
}

/// True for what the server says of a table, database or column that is not there.
pub(crate) fn is_missing(error: &SqlError) -> bool {
    error.code().is_some_and(|code| MISSING.contains(&code))
}

async fn ask(session: &mut Session, sql: &str) -> Result<bool, SqlError> {
    match session.run("look for a table", sql.as_bytes()).await {
        Ok(()) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) if error.lasting_code().is_some() => Ok(true),
        Err(error) => Err(error),
    }
}

fn name(database: &str, table: &str) -> String {
    format!("{}.{}", quote(database), quote(table))
}
