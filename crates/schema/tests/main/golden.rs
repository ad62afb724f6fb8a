//! Statements with what they are and what becomes of them, in `golden/*.txt`.
//!
//! `>` is the statement (several lines are one), `=` what it is, `~` how it reads when every database
//! gets the prefix `D1__`; without `~` it is written as it stands. `mode` holds for the case after it.

use std::fmt::Write;
use tributary_schema::{Ddl, SqlMode, Statement, TableRef, TransactionKind, classify, rewrite};

#[derive(Default)]
struct Case {
    mode: u64,
    sql: String,
    what: String,
    rewritten: String,
}

fn cases(text: &str) -> Vec<Case> {
    let append = |to: &mut String, line: &str| {
        if !to.is_empty() {
            to.push('\n');
        }
        to.push_str(line);
    };
    text.split("\n\n")
        .map(|block| {
            let mut case = Case::default();
            for line in block.lines() {
                match line.split_once(' ').unwrap_or((line, "")) {
                    (">", sql) => append(&mut case.sql, sql),
                    ("=", what) => append(&mut case.what, what),
                    ("~", sql) => append(&mut case.rewritten, sql),
                    ("mode", "ANSI_QUOTES") => case.mode |= SqlMode::ANSI_QUOTES.0,
                    ("mode", "NO_BACKSLASH_ESCAPES") => {
                        case.mode |= SqlMode::NO_BACKSLASH_ESCAPES.0;
                    }
                    ("#" | "", _) => {}
                    other => panic!("{other:?} is no line of a golden file"),
                }
            }
            case
        })
        .filter(|case| !case.sql.is_empty())
        .collect()
}

fn name(table: &TableRef) -> String {
    match &table.database {
        Some(database) => format!("{database}.{}", table.table),
        None => table.table.clone(),
    }
}

fn names(tables: &[TableRef]) -> String {
    tables.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn describe_ddl(ddl: &Ddl) -> String {
    let mut text = format!("{:?}", ddl.kind);
    let mut part = |label: &str, names: String| {
        if !names.is_empty() {
            let _ = write!(text, "{label}{names}");
        }
    };
    part(" ", names(&ddl.tables));
    part(" reads ", names(&ddl.reads));
    let renames = ddl.renames.iter().map(|(from, to)| format!("{} > {}", name(from), name(to)));
    part(" renames ", renames.collect::<Vec<_>>().join(", "));
    part(" databases ", ddl.databases.join(", "));
    for (flag, label) in [
        (ddl.if_exists, "if_exists"),
        (ddl.if_not_exists, "if_not_exists"),
        (ddl.or_replace, "or_replace"),
        (ddl.filled_by_select, "filled_by_select"),
        (ddl.starts_transaction, "starts_transaction"),
        (ddl.system_versioning, "system_versioning"),
        (ddl.numbers_rows, "numbers_rows"),
        (ddl.varies, "varies"),
        (ddl.drops_duplicates, "drops_duplicates"),
        (ddl.contents_from_file, "contents_from_file"),
    ] {
        part(" +", if flag { label.to_owned() } else { String::new() });
    }
    text
}

fn describe(statement: &Statement) -> String {
    match statement {
        Statement::Ddl(ddl) => describe_ddl(ddl),
        Statement::Routine { kind, verb, name: routine } => {
            format!("{verb:?} {kind:?} {}", name(routine))
        }
        Statement::Ignored { why } => format!("Ignored: {why}"),
        Statement::Transaction(kind) => match kind {
            TransactionKind::Savepoint { name } => format!("Savepoint {name}"),
            TransactionKind::RollbackTo { name } => format!("RollbackTo {name}"),
            TransactionKind::Release { name } => format!("Release {name}"),
            TransactionKind::Xa { verb, xid } => format!("Xa {verb:?} {xid}"),
            kind => format!("{kind:?}"),
        },
        Statement::Dml { verb } => format!("Dml {verb}"),
        Statement::Unknown { text } => format!("Unknown: {text}"),
    }
}

fn holds(file: &str, text: &str) {
    let cases = cases(text);
    assert!(!cases.is_empty(), "{file} holds no case");
    let mut faults = String::new();
    for Case { mode, sql, what, rewritten } in cases {
        let mode = SqlMode(mode);
        let statement = classify(sql.as_bytes(), mode);
        let found = describe(&statement);
        if found != what {
            let _ = writeln!(faults, "{file}: {sql}\n  wanted {what}\n  found  {found}");
        }
        let result = rewrite(sql.as_bytes(), mode, &|database| format!("D1__{database}"));
        match (statement, result) {
            (Statement::Ddl(_), Ok(bytes)) => {
                let wanted = if rewritten.is_empty() { &sql } else { &rewritten };
                let found = String::from_utf8_lossy(&bytes);
                if found != *wanted {
                    let _ = writeln!(faults, "{file}: {sql}\n  wanted {wanted}\n  found  {found}");
                }
            }
            (Statement::Ddl(_), Err(error)) => {
                let _ = writeln!(faults, "{file}: {sql}\n  {error}");
            }
            (_, Ok(_)) => {
                let _ = writeln!(faults, "{file}: {sql}\n  is no DDL and was rewritten");
            }
            (_, Err(_)) => {}
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

macro_rules! golden {
    ($($test:ident: $file:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            holds($file, include_str!(concat!("golden/", $file)));
        })*
    };
}

golden! {
    comments_in_every_place_are_seen_through: "comments.txt",
    identifiers_and_strings_end_where_the_sql_mode_says: "quoting.txt",
    statements_on_several_tables_name_them_all: "multi_table.txt",
    tables_are_created_changed_and_dropped: "tables.txt",
    views_have_their_tables_and_not_their_columns_renamed: "views.txt",
    databases_are_created_changed_and_dropped: "databases.txt",
    routines_are_kept_and_not_applied: "routines.txt",
    accounts_maintenance_and_session_state_are_ignored: "ignored.txt",
    transactions_and_row_changes_are_told_apart: "transactions.txt",
    what_is_not_understood_is_unknown: "unknown.txt",
}

#[test]
fn a_name_that_is_not_utf_8_is_unknown_and_a_comment_that_is_not_is_no_matter() {
    let none = SqlMode::default();
    let unknown = |sql: &[u8]| matches!(classify(sql, none), Statement::Unknown { .. });
    assert!(unknown(b"DROP TABLE caf\xe9"));
    assert!(unknown(b"CREATE VIEW v AS SELECT 1 FROM caf\xe9.t"));
    assert!(unknown(b"CREATE VIEW v AS SELECT app.caf\xe9.c FROM t"));
    assert!(unknown(b"CREATE TABLE t (caf\xe9 INT)"));
    assert!(unknown(b"CREATE TABLE t (a INT COMMENT 'caf\xe9')"));
    assert!(unknown(b"CREATE TABLE t (a INT) --\xa0 x"));
    assert!(!unknown(b"CREATE TABLE t (a INT) /* \xff */"));
    assert!(!unknown(b"CREATE TABLE t (a BINARY(1) DEFAULT _binary'\xff')"));
}

#[test]
fn an_unknown_statement_is_told_in_120_printable_characters_without_its_strings() {
    let sql = format!("FROBNICATE\n\t'hunter2' {}", "é".repeat(500));
    let Statement::Unknown { text } = classify(sql.as_bytes(), SqlMode::default()) else {
        panic!("known");
    };
    assert!(text.starts_with("FROBNICATE '…' éé"), "{text}");
    assert_eq!(text.chars().count(), 120);
}

#[test]
fn what_is_no_ddl_is_refused_with_what_it_is() {
    let error =
        rewrite(b"GRANT ALL ON *.* TO x", SqlMode::default(), &str::to_owned).expect_err("refused");
    assert!(error.to_string().contains("an account, a role or a grant"), "{error}");
}
