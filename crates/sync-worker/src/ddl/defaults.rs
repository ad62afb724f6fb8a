//! What a statement leaves to the server's defaults, and what those were at the device.
//!
//! Setting such a variable takes a privilege on MySQL (SESSION_VARIABLES_ADMIN), and not every server has
//! it. It is touched only where the statement may depend on it and the session differs.

use crate::ddl::run::Context;
use crate::session::Session;
use crate::sql_error::SqlError;

/// Variables of the session that were changed for a statement.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    changed: Vec<&'static str>,
}

const TIMESTAMPS: &str = "explicit_defaults_for_timestamp";

// === impl Defaults ===

impl Defaults {
    /// Sets what the statement needs.
    ///
    /// # Errors
    /// [`SqlError`] when a TIMESTAMP would become another column than at the device.
    pub(super) async fn set(
        session: &mut Session,
        context: &Context<'_>,
    ) -> Result<Self, SqlError> {
        let mut defaults = Self::default();
        let statement = context.order.statement;
        let says = |word: &str| contains(&statement.sql, word);
        if let Some(explicit) =
            statement.explicit_defaults_for_timestamp.filter(|_| says("timestamp"))
        {
            let wanted = u8::from(explicit).to_string();
            if differs(session, TIMESTAMPS, &wanted).await? {
                change(session, TIMESTAMPS, &wanted).await?;
                defaults.changed.push(TIMESTAMPS);
            }
        }
        Ok(defaults)
    }

    /// Puts everything back.
    pub(super) async fn unset(self, session: &mut Session) -> Result<(), SqlError> {
        for variable in self.changed {
            change(session, variable, "DEFAULT").await?;
        }
        Ok(())
    }
}

async fn differs(
    session: &mut Session,
    variable: &'static str,
    wanted: &str,
) -> Result<bool, SqlError> {
    let sql = format!("SELECT CAST(@@session.{variable} AS CHAR)");
    let found: Result<Vec<Vec<u8>>, _> = session.rows("read a default", &sql).await;
    match found {
        Ok(found) => Ok(found.first().is_some_and(|found| found != wanted.as_bytes())),
        // Unknown: a server of before it, with the default of its time.
        Err(error) if error.code() == Some(1193) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn change(session: &mut Session, variable: &str, value: &str) -> Result<(), SqlError> {
    let sql = format!("SET SESSION {variable}={value}");
    session.run("set a default of the device's", sql.as_bytes()).await
}

fn contains(sql: &[u8], word: &str) -> bool {
    sql.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}
