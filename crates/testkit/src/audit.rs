//! The auditor: whether a target holds exactly what a source holds, cell by cell.
//!
//! Both sides are read in the same order over one connection each and merged, so a difference is named by
//! its row (changed, missing, extra) and memory holds one row of each side at a time. Values are compared
//! as the bytes that the server sends in the text protocol, with `SET NAMES binary` (no character set
//! conversion) and UTC; FLOAT is widened first, because its own text form drops digits.
//!
//! It compares what stands still: let the pipeline finish before asking.

mod definition;
mod difference;
mod row;
mod table;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};

pub use definition::compare_definitions;
use difference::Findings;
pub use difference::{Difference, Verdict};
use table::Table;

/// Ten minutes for a side that waits while the other one sorts.
const SESSION: [&str; 7] = [
    "SET NAMES binary",
    "SET sql_mode = ''",
    // What an administrator may have set for all sessions would hide rows and columns.
    "SET SESSION sql_select_limit = 18446744073709551615 /*M! , max_statement_time = 0 */ \
     /*!50708 , SESSION max_execution_time = 0 */",
    "SET @tributary = 1 /*!80030 , SESSION show_gipk_in_create_table_and_information_schema = ON */",
    "SET time_zone = '+00:00'",
    "SET SESSION net_write_timeout = 600, net_read_timeout = 600",
    "SET SESSION max_sort_length = 4096",
];
const SYSTEM: &str = "'information_schema', 'mysql', 'performance_schema', 'sys'";

/// Compares every base table of the source's `databases` (`None`: of all but the system's) with the table
/// of that name in the target's database `map(database)`. A table of a mapped database that only the
/// target has is a difference too.
///
/// # Errors
/// When a server cannot be reached or read; differences are not errors.
pub async fn compare(
    source_url: &str,
    target_url: &str,
    databases: Option<&[&str]>,
    map: impl Fn(&str) -> String,
) -> Result<Verdict> {
    compare_with(source_url, target_url, databases, &Copy { map, device: None }).await
}

/// As [`compare`], with tables that devices share: in each, the rows of `device` are its copy, and their
/// database has the device's name for it.
///
/// # Errors
/// See [`compare`].
pub async fn compare_shared(
    source_url: &str,
    target_url: &str,
    databases: Option<&[&str]>,
    device: &str,
) -> Result<Verdict> {
    let copy = Copy { map: str::to_owned, device: Some(device) };
    compare_with(source_url, target_url, databases, &copy).await
}

/// Where a target has the copy of a source's database.
struct Copy<'a, M> {
    map: M,
    /// Whose rows they are, where tables are shared.
    device: Option<&'a str>,
}

async fn compare_with(
    source_url: &str,
    target_url: &str,
    databases: Option<&[&str]>,
    copy: &Copy<'_, impl Fn(&str) -> String>,
) -> Result<Verdict> {
    let (mut source, mut target, databases) = open(source_url, target_url, databases).await?;
    let mut findings = Findings::default();
    for database in &databases {
        compare_database(&mut source, &mut target, database, copy, &mut findings)
            .await
            .with_context(|| format!("auditor: cannot compare database {database}"))?;
    }
    source.disconnect().await?;
    target.disconnect().await?;
    Ok(findings.into_verdict())
}

async fn compare_database(
    source: &mut Conn,
    target: &mut Conn,
    database: &str,
    copy: &Copy<'_, impl Fn(&str) -> String>,
    findings: &mut Findings,
) -> Result<()> {
    let mapped = (copy.map)(database);
    let wanted = list_tables(source, database).await?;
    let present = list_tables(target, &mapped).await?;
    for name in present.iter().filter(|name| !wanted.contains(name)) {
        let only = match copy.device {
            None => true,
            Some(device) => {
                Table::describe(target, &mapped, name).await?.has_rows_of(target, device).await?
            }
        };
        if only {
            findings.add(database, name, format!("only the target has it, in {mapped}"));
        }
    }
    for name in &wanted {
        findings.begin_table();
        if !present.contains(name) {
            findings.add(database, name, format!("missing in the target's {mapped}"));
            continue;
        }
        let table = Table::describe(source, database, name).await?;
        let other = Table::describe(target, &mapped, name).await?.of(copy.device);
        match table.column_difference(&other) {
            Some(detail) => findings.add(database, name, detail),
            None => table.compare_rows(source, target, &other, findings).await?,
        }
    }
    Ok(())
}

async fn connect(url: &str) -> Result<Conn> {
    let options = OptsBuilder::from_opts(Opts::from_url(url)?).init(SESSION.to_vec());
    Ok(Conn::new(options).await?)
}

/// Connects to both sides, and says which of the source's databases are to be compared.
async fn open(
    source_url: &str,
    target_url: &str,
    databases: Option<&[&str]>,
) -> Result<(Conn, Conn, Vec<String>)> {
    let mut source = connect(source_url).await.context("auditor: cannot connect to the source")?;
    let target = connect(target_url).await.context("auditor: cannot connect to the target")?;
    let databases = match databases {
        Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        None => list_databases(&mut source).await?,
    };
    Ok((source, target, databases))
}

async fn list_databases(conn: &mut Conn) -> Result<Vec<String>> {
    let statement = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA \
         WHERE SCHEMA_NAME NOT IN ({SYSTEM}) ORDER BY 1"
    );
    conn.query(statement).await.context("auditor: cannot list the source's databases")
}

async fn list_tables(conn: &mut Conn, database: &str) -> Result<Vec<String>> {
    let statement = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? \
                     AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1";
    let names = conn.exec(statement, (database,)).await;
    names.with_context(|| format!("auditor: cannot list the tables of {database}"))
}
