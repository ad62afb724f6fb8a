//! What `check` says of the applications' tables, and of the modes and limits that concern them.

use super::{Check, set};
use crate::source::{Facts, Source};

/// More are counted, and not named.
const NAMED_MAX: usize = 5;
/// Without one of these the server stores what does not fit, and says no error.
const STRICT: [&str; 2] = ["STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"];

/// A table in which two rows may be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyless {
    /// `database`.`table`
    pub(crate) name: String,
    /// As the server estimates it.
    pub(crate) rows: u64,
    /// Its engine.
    pub(crate) engine: String,
}

/// What the server's settings say.
pub(super) fn settings(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![strict(facts)];
    match facts.variable("innodb_strict_mode") {
        "OFF" | "0" => checks.push(Check::warn(
            "innodb_strict_mode is OFF: a table may be made here that no strict server would make",
            set(facts, "innodb_strict_mode", "ON"),
        )),
        _ => checks.push(Check::ok("innodb_strict_mode is ON")),
    }
    checks.push(match facts.variable("lower_case_table_names") {
        "" | "0" => Check::ok("lower_case_table_names is 0: names keep their case"),
        // It cannot be changed on a server that has data, and need not be.
        other => Check::ok(format!(
            "lower_case_table_names is {other}: names are compared without regard to case, here and in the copy"
        )),
    });
    checks.extend(computed(facts));
    checks
}

/// Variables that decide what an expression gives and that no log says: the shard computes with the usual values.
fn computed(facts: &Facts) -> Vec<Check> {
    let usual = [("div_precision_increment", "4"), ("default_week_format", "0")];
    let others =
        usual.into_iter().filter(|(name, usual)| !["", usual].contains(&facts.variable(name)));
    let told = others.map(|(name, usual)| {
        Check::warn(
            format!(
                "{name} is {}, and the shard computes with {usual}: a generated column that goes by it is another there",
                facts.variable(name)
            ),
            set(facts, name, usual),
        )
    });
    told.collect()
}

fn strict(facts: &Facts) -> Check {
    let modes = facts.variable("sql_mode");
    if STRICT.iter().any(|strict| modes.contains(strict)) {
        return Check::ok("sql_mode is strict");
    }
    let with =
        if modes.is_empty() { STRICT[0].to_owned() } else { format!("{modes},{}", STRICT[0]) };
    Check::warn(
        "sql_mode is not strict: the server cuts off and changes values that do not fit, and may hold some that a strict server refuses in a generated column or an index over an expression",
        format!("{}, when the applications can do with it", set(facts, "sql_mode", &with)),
    )
}

/// What the tables themselves say.
pub(super) async fn look(source: &mut Source) -> Vec<Check> {
    match source.keyless().await {
        Ok(tables) => vec![keyless(&tables)],
        Err(error) => {
            vec![Check::warn(format!("the tables cannot be looked at: {error}"), "grant SELECT")]
        }
    }
}

fn keyless(tables: &[Keyless]) -> Check {
    let Some(first) = tables.first() else {
        return Check::ok("every table has a primary key");
    };
    let shown =
        |table: &Keyless| format!("{} ({}, about {} rows)", table.name, table.engine, table.rows);
    let mut list: Vec<String> = tables.iter().take(NAMED_MAX).map(shown).collect();
    if tables.len() > NAMED_MAX {
        list.push(format!("and {} more", tables.len() - NAMED_MAX));
    }
    Check::warn(
        format!(
            "without a primary key: {}; a change of a row has to be searched for in the copy, and the first copy of such a table is made in one go",
            list.join(", ")
        ),
        format!(
            "where some columns tell its rows apart: ALTER TABLE {} ADD PRIMARY KEY (those columns)",
            first.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;
    use crate::source::Flavour;
    use std::collections::HashMap;

    fn facts(variables: &[(&str, &str)]) -> Facts {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Facts {
            flavour: Flavour::MySql,
            version: "9.7.0".into(),
            version_numbers: (9, 7, 0),
            variables: variables.iter().map(pair).collect::<HashMap<_, _>>(),
            system_time_zone: "+00:00".into(),
            identity: "uuid".into(),
        }
    }

    #[test]
    fn a_lenient_mode_is_a_warning_with_the_statement_that_adds_to_what_there_is() {
        assert!(computed(&facts(&[("div_precision_increment", "4")])).is_empty());
        let told = computed(&facts(&[("div_precision_increment", "9")]));
        assert!(
            told[0].finding.contains("is 9")
                && told[0].fix.as_ref().is_some_and(|fix| fix.contains("= 4"))
        );
        let check = strict(&facts(&[("sql_mode", "NO_ZERO_DATE")]));
        assert_eq!(check.outcome, Outcome::Warn);
        let fix = check.fix.expect("one");
        assert!(
            fix.starts_with("SET PERSIST sql_mode = 'NO_ZERO_DATE,STRICT_TRANS_TABLES'"),
            "{fix}"
        );
        let fix = strict(&facts(&[("sql_mode", "")])).fix.expect("one");
        assert!(fix.starts_with("SET PERSIST sql_mode = 'STRICT_TRANS_TABLES'"), "{fix}");
        assert_eq!(strict(&facts(&[("sql_mode", "STRICT_ALL_TABLES")])).outcome, Outcome::Ok);
    }

    #[test]
    fn the_largest_tables_without_a_key_are_named_and_the_others_counted() {
        let table =
            |n: u64| Keyless { name: format!("`a`.`t{n}`"), rows: n, engine: "InnoDB".into() };
        assert_eq!(keyless(&[]).outcome, Outcome::Ok);
        let check = keyless(&(0..8).rev().map(table).collect::<Vec<_>>());
        assert!(check.finding.contains("`a`.`t7` (InnoDB, about 7 rows)"), "{}", check.finding);
        assert!(check.finding.contains("and 3 more"), "{}", check.finding);
    }
}
