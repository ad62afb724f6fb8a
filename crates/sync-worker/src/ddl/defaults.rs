//! What a statement leaves to variables of the server, and what those are to be for it.
//!
//! Setting such a variable takes a privilege on MySQL (SESSION_VARIABLES_ADMIN), and not every server has
//! it. It is touched only where the statement may depend on it and the session differs.

use crate::ddl::run::Context;
use crate::session::Session;
use crate::sql_error::SqlError;
use tributary_schema::DdlKind;
use tributary_wire::Statement;

/// Variables of the session that were changed for a statement.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    changed: Vec<&'static str>,
}

/// A variable, what it has to be, and whether the statement means something else without it.
struct Wanted {
    variable: &'static str,
    value: String,
    /// False for a switch of the shard's that may refuse the statement, or may not.
    decides: bool,
}

/// Switches of a shard's server that refuse a definition which the device's server took, or add to it: with
/// what lets definitions be as they are. MariaDB has the first alone.
pub(crate) const SWITCHES: [(&str, &str); 4] = [
    ("innodb_strict_mode", "OFF"),
    ("sql_require_primary_key", "OFF"),
    ("sql_generate_invisible_primary_key", "OFF"),
    ("restrict_fk_on_non_standard_key", "OFF"),
];
const TIMESTAMPS: &str = "explicit_defaults_for_timestamp";
const ACCESS_DENIED: u16 = 1227;

// === impl Defaults ===

impl Defaults {
    /// Sets what the statement needs.
    ///
    /// # Errors
    /// [`SqlError`] when a column would become another one than at the device.
    pub(super) async fn set(
        session: &mut Session,
        context: &Context<'_>,
    ) -> Result<Self, SqlError> {
        let mut defaults = Self::default();
        let order = context.order;
        let wanted = wanted(order.statement, order.ddl.kind);
        if wanted.is_empty() {
            return Ok(defaults);
        }
        let names: Vec<String> =
            wanted.iter().map(|wanted| format!("'{}'", wanted.variable)).collect();
        let sql = format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({})", names.join(","));
        // A server that has no such variable is older than the switch, and has the default of its time.
        let found: Vec<(String, String)> =
            session.rows("read the session's variables", &sql).await?;
        for Wanted { variable, value, decides } in wanted {
            let differs = |(name, found): &(String, String)| {
                name.eq_ignore_ascii_case(variable) && !found.eq_ignore_ascii_case(&value)
            };
            if !found.iter().any(differs) {
                continue;
            }
            match change(session, variable, &value).await {
                Ok(()) => defaults.changed.push(variable),
                Err(error) if !decides && error.code() == Some(ACCESS_DENIED) => {}
                Err(error) => return Err(error),
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

fn wanted(statement: &Statement, kind: DdlKind) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let says = |word: &str| contains(&statement.sql, word);
    if let Some(explicit) = statement.explicit_defaults_for_timestamp.filter(|_| says("timestamp"))
    {
        let value = if explicit { "ON" } else { "OFF" }.to_owned();
        wanted.push(Wanted { variable: TIMESTAMPS, value, decides: true });
    }
    if statement.auto_increment != [0, 0] && (says("auto_increment") || says("serial")) {
        let names = ["auto_increment_increment", "auto_increment_offset"];
        let values = names.into_iter().zip(statement.auto_increment);
        wanted.extend(values.map(|(variable, value)| Wanted {
            variable,
            value: value.to_string(),
            decides: true,
        }));
    }
    if matches!(kind, DdlKind::CreateTable | DdlKind::AlterTable | DdlKind::CreateIndex) {
        let switches = SWITCHES.map(|(variable, value)| Wanted {
            variable,
            value: value.to_owned(),
            decides: false,
        });
        wanted.extend(switches);
    }
    wanted
}

async fn change(session: &mut Session, variable: &str, value: &str) -> Result<(), SqlError> {
    let sql = format!("SET SESSION {variable}={value}");
    session.run("set a variable for the device's statement", sql.as_bytes()).await
}

fn contains(sql: &[u8], word: &str) -> bool {
    sql.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}
