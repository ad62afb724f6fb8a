//! Whether a target's tables are defined as the source's are.

use anyhow::{Context, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::difference::Findings;
use super::{Verdict, list_tables, open};

/// Compares `SHOW CREATE TABLE` of every base table, and the default collation of every database, of the
/// source's `databases` (`None`: of all but the system's) with those of the target's database
/// `map(database)`, whose name counts as the source's. Rows are not looked at. It makes sense between
/// servers of one product alone: each writes the same table in its own words.
///
/// # Errors
/// When a server cannot be reached or read; differences are not errors.
pub async fn compare_definitions(
    source_url: &str,
    target_url: &str,
    databases: Option<&[&str]>,
    map: impl Fn(&str) -> String,
) -> Result<Verdict> {
    let (mut source, mut target, databases) = open(source_url, target_url, databases).await?;
    let named: Vec<(String, String)> =
        databases.into_iter().map(|database| (map(&database), database)).collect();
    let mut findings = Findings::default();
    for (mapped, database) in &named {
        let wanted = default_collation(&mut source, database).await?;
        let found = default_collation(&mut target, mapped).await?;
        if wanted != found {
            let detail = format!("default collation: source {wanted:?}, target {found:?}");
            findings.add(database, "", detail);
        }
        let present = list_tables(&mut target, mapped).await?;
        for name in list_tables(&mut source, database).await? {
            findings.begin_table();
            if !present.contains(&name) {
                findings.add(database, &name, format!("missing in the target's {mapped}"));
                continue;
            }
            let wanted = definition(&mut source, database, &name).await?;
            let mut found = definition(&mut target, mapped, &name).await?;
            for (mapped, database) in &named {
                found = found.replace(&format!("`{mapped}`"), &format!("`{database}`"));
            }
            if let Some(detail) = first_difference(&plain(&wanted), &plain(&found)) {
                findings.add(database, &name, detail);
            }
        }
    }
    source.disconnect().await?;
    target.disconnect().await?;
    Ok(findings.into_verdict())
}

/// Without `CHARACTER SET x` in front of `COLLATE x_…`, which says it already: MySQL notes whether it was
/// written, and logs a CREATE TABLE that it composed itself with it.
fn plain(definition: &str) -> String {
    const INTRODUCER: &str = " CHARACTER SET ";
    let mut parts = definition.split(INTRODUCER);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let implied = part.split_once(" COLLATE ").filter(|(charset, collation)| {
            collation.strip_prefix(charset).is_some_and(|rest| rest.starts_with('_'))
        });
        match implied {
            Some((charset, _)) => plain.push_str(&part[charset.len()..]),
            None => plain.extend([INTRODUCER, part]),
        }
    }
    plain
}

/// The first line in which two definitions differ.
fn first_difference(wanted: &str, found: &str) -> Option<String> {
    if wanted == found {
        return None;
    }
    let (mut wanted, mut found) = (wanted.lines(), found.lines());
    loop {
        match (wanted.next(), found.next()) {
            (left, right) if left == right && left.is_some() => {}
            (left, right) => {
                return Some(format!(
                    "definition: source {:?}, target {:?}",
                    left.unwrap_or("(its end)"),
                    right.unwrap_or("(its end)")
                ));
            }
        }
    }
}

async fn default_collation(conn: &mut Conn, database: &str) -> Result<Option<String>> {
    let statement =
        "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?";
    Ok(conn.exec_first(statement, (database,)).await?)
}

async fn definition(conn: &mut Conn, database: &str, table: &str) -> Result<String> {
    let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
    let statement = format!("SHOW CREATE TABLE {}.{}", quote(database), quote(table));
    let row: Option<(Vec<u8>, Vec<u8>)> = conn.query_first(&statement).await?;
    let (_, text) = row.with_context(|| format!("{statement} says nothing"))?;
    // With `SET NAMES binary` the server sends what it stores, in UTF-8.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_set_that_the_collation_implies_says_nothing() {
        let written = "`a` char(1) CHARACTER SET gbk COLLATE gbk_bin,\n`b` text CHARACTER SET gbk";
        assert_eq!(plain(written), "`a` char(1) COLLATE gbk_bin,\n`b` text CHARACTER SET gbk");
        let other = "`a` text CHARACTER SET utf8mb4 COLLATE utf8mb3_bin";
        assert_eq!(plain(other), other);
    }
}
