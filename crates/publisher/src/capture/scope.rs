//! Which tables the log's changes are carried of while a snapshot is under way, and what the log does
//! to the table that is being read just now.

use std::collections::HashSet;
use tributary_binlog::TablePlan;
use tributary_schema::{Ddl, DdlKind, TableRef, fold_name};
use tributary_wire::{ColumnBuffer, Op, SnapshotCursor, TableColumns, TableShape};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scope {
    cursor: Option<SnapshotCursor>,
    /// Names in statements are folded to lower case, as this server does (`lower_case_table_names`).
    pub(super) folds_names: bool,
    /// Grows with every move of the cursor: what was decided about a table before is void.
    pub(super) generation: u64,
    watch: Option<Watch>,
}

/// What a statement means to tables of which some are not copied yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// Only to live tables: it is carried.
    Carry,
    /// Only to tables, or to code, whose definition is still to come: it is left.
    Leave,
    /// To both, or to the table of which a part is copied: rows that are still to be copied could be where the
    /// snapshot does not look for them any more. It is left, and the snapshot goes back, so that all these
    /// tables are still to come.
    FallBack(SnapshotCursor),
}

/// What the log does while a part of a snapshot is being read.
#[derive(Debug, Default)]
pub struct Watch {
    /// Database and table; `None` to watch for definitions of any kind.
    table: Option<(String, String)>,
    /// Identities of rows that were changed, before and after, in wire form.
    pub keys: HashSet<Vec<u8>>,
    /// Changes to the table's rows.
    pub rows: u64,
    /// Statements that may change what is watched.
    pub statements: u64,
}

// === impl Scope ===

impl Scope {
    pub(super) fn cursor(&self) -> Option<&SnapshotCursor> {
        self.cursor.as_ref()
    }

    pub(super) fn set_cursor(&mut self, cursor: Option<SnapshotCursor>) {
        self.cursor = cursor;
        self.generation += 1;
    }

    /// True while a statement may be of interest to a snapshot.
    pub(super) fn is_watchful(&self) -> bool {
        self.cursor.is_some() || self.watch.is_some()
    }

    pub(super) fn is_live(&self, database: &str, table: &str) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| cursor.is_live(database, table))
    }

    pub(super) fn watch(&mut self, table: Option<(String, String)>) {
        self.watch = Some(Watch { table, ..Watch::default() });
    }

    /// Ends watching.
    pub(super) fn seen(&mut self) -> Watch {
        self.watch.take().unwrap_or_default()
    }

    /// The watch that wants to know of changes to a table's rows.
    pub(super) fn watching(&mut self, shape: &TableShape) -> Option<&mut Watch> {
        self.watch.as_mut().filter(|watch| {
            watch.table.as_ref().is_some_and(|(database, table)| {
                *database == shape.database && *table == shape.table
            })
        })
    }

    /// Notes a statement that defines something.
    pub(super) fn note_statement(&mut self, ddl: Option<&Ddl>, default: &str) {
        let named = ddl.map(|ddl| self.named(ddl, default));
        let Some(watch) = &mut self.watch else { return };
        let concerns = match (&watch.table, ddl, named) {
            (Some((database, table)), Some(ddl), Some(named)) => {
                named.iter().any(|(d, t)| d == database && t == table)
                    || ddl.databases.contains(database)
                    || matches!(ddl.kind, DdlKind::AlterDatabase | DdlKind::DropDatabase)
            }
            _ => true,
        };
        watch.statements += u64::from(concerns);
    }

    /// Notes rows that were not carried.
    pub(super) fn note_left(&mut self, shape: &TableShape, rows: u64) {
        if let Some(watch) = self.watching(shape) {
            watch.rows += rows;
        }
    }

    /// Decides about a statement on tables, views or databases.
    pub(super) fn concern(&self, ddl: &Ddl, default: &str) -> Concern {
        let Some(cursor) = &self.cursor else { return Concern::Carry };
        match ddl.kind {
            DdlKind::CreateDatabase | DdlKind::AlterDatabase | DdlKind::DropDatabase => {
                return Concern::Carry;
            }
            // Views, as they are by then, follow the last table.
            DdlKind::CreateView | DdlKind::AlterView | DdlKind::DropView => return Concern::Leave,
            _ => {}
        }
        let mut named = self.named(ddl, default);
        if ddl.kind == DdlKind::CreateTable {
            // What it is made like, or filled from, has to be there.
            named.extend(ddl.reads.iter().map(|name| self.full(name, default)));
        }
        let is_live = |(database, table): &(String, String)| cursor.is_live(database, table);
        let moves = moves_rows(ddl.kind) && named.iter().any(|name| is_under_way(cursor, name));
        match (named.iter().any(is_live), named.iter().all(is_live)) {
            (_, true) if !moves => Concern::Carry,
            (false, _) => Concern::Leave,
            (true, _) => {
                let first = named.into_iter().filter(is_live).min();
                Concern::FallBack(before(first.unwrap_or_default()))
            }
        }
    }

    /// The tables or views that are no longer there after a statement that is left. What the target still has of
    /// them, from a former copy or a part of this one, has to go with it: another one may get the name.
    pub(super) fn gone(&self, ddl: &Ddl, default: &str) -> Vec<(String, String)> {
        match ddl.kind {
            DdlKind::DropTable | DdlKind::DropView => self.named(ddl, default),
            _ => {
                let full = |name| self.full(name, default);
                let new: Vec<_> = ddl.renames.iter().map(|(_, new)| full(new)).collect();
                let old = ddl.renames.iter().map(|(old, _)| full(old));
                old.filter(|name| !new.contains(name)).collect()
            }
        }
    }

    fn named(&self, ddl: &Ddl, default: &str) -> Vec<(String, String)> {
        ddl.tables.iter().map(|name| self.full(name, default)).collect()
    }

    fn full(&self, name: &TableRef, default: &str) -> (String, String) {
        let database = name.database.as_deref().unwrap_or(default);
        if self.folds_names {
            (fold_name(database), fold_name(&name.table))
        } else {
            (database.to_owned(), name.table.clone())
        }
    }
}

/// True for a statement after which a row may have another key, another table, or no key at all: what is
/// "behind the last key that was read" is then no longer what is left to be copied.
fn moves_rows(kind: DdlKind) -> bool {
    use DdlKind::{AlterTable, CreateIndex, DropIndex, RenameTable};
    // DROP INDEX also drops a primary key. CREATE INDEX may find rows of a former copy that are not unique.
    matches!(kind, AlterTable | RenameTable | CreateIndex | DropIndex)
}

/// True for the table of which a part is copied.
fn is_under_way(cursor: &SnapshotCursor, (database, table): &(String, String)) -> bool {
    !cursor.complete && (&cursor.database, &cursor.table) == (database, table)
}

/// A place before this table, at which it is not live, nor is any behind it. There may be others behind it as
/// well: they are copied once more.
fn before((database, mut table): (String, String)) -> SnapshotCursor {
    table.pop();
    SnapshotCursor { database, table, complete: true, ..SnapshotCursor::default() }
}

// === impl Watch ===

impl Watch {
    /// Lets `write` write a row, and notes its identities.
    pub(super) fn record<E>(
        &mut self,
        plan: &TablePlan,
        op: Op,
        columns: &mut TableColumns,
        write: impl FnOnce(&mut TableColumns) -> Result<(), E>,
    ) -> Result<(), E> {
        let key = &plan.shape.primary_key;
        let image = |columns: &TableColumns, nth: usize| -> usize {
            columns.images[usize::from(key[nth])].encoded().len()
        };
        let images: Vec<usize> = (0..key.len()).map(|nth| image(columns, nth)).collect();
        let identities: Vec<usize> =
            columns.identities.iter().map(|column| column.encoded().len()).collect();
        write(columns)?;
        self.rows += 1;
        if key.is_empty() {
            return Ok(());
        }
        if op.has_image() {
            let new = key.iter().zip(images).map(|(&c, at)| (&columns.images[usize::from(c)], at));
            self.keys.insert(joined(new));
        }
        match op {
            Op::Insert => {}
            Op::Update | Op::Rekey => {
                self.keys.insert(joined(columns.before.iter().map(|column| (column, 0))));
            }
            Op::Delete => {
                self.keys.insert(joined(columns.identities.iter().zip(identities)));
            }
        }
        Ok(())
    }
}

/// The cells behind each place, one after another.
fn joined<'a>(cells: impl Iterator<Item = (&'a ColumnBuffer, usize)>) -> Vec<u8> {
    let mut key = Vec::new();
    for (column, at) in cells {
        key.extend_from_slice(&column.encoded()[at..]);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schema::{SqlMode, Statement, classify};

    fn ddl(sql: &str) -> Ddl {
        match classify(sql.as_bytes(), SqlMode(0)) {
            Statement::Ddl(ddl) => ddl,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn scope(database: &str, table: &str) -> Scope {
        let cursor = SnapshotCursor {
            database: database.into(),
            table: table.into(),
            ..SnapshotCursor::default()
        };
        Scope { cursor: Some(cursor), ..Scope::default() }
    }

    #[test]
    fn statements_on_live_tables_are_carried_and_on_others_left() {
        let scope = scope("shop", "m");
        for (sql, wanted) in [
            ("ALTER TABLE a ADD x INT", Concern::Carry),
            ("ALTER TABLE z ADD x INT", Concern::Leave),
            ("DROP TABLE zoo.a", Concern::Leave),
            ("CREATE DATABASE zoo", Concern::Carry),
            ("CREATE VIEW a AS SELECT 1", Concern::Leave),
            ("RENAME TABLE a TO b", Concern::Carry),
            ("RENAME TABLE y TO z", Concern::Leave),
            ("CREATE TABLE a LIKE b", Concern::Carry),
        ] {
            assert_eq!(scope.concern(&ddl(sql), "shop"), wanted, "{sql}");
        }
        assert_eq!(Scope::default().concern(&ddl("DROP TABLE z"), "shop"), Concern::Carry);
    }

    #[test]
    fn a_statement_that_moves_rows_past_the_cursor_takes_it_back() {
        for sql in [
            "RENAME TABLE z TO a",
            "RENAME TABLE a TO old, z TO a",
            "ALTER TABLE z RENAME TO a",
            "CREATE TABLE a LIKE z",
            "DROP TABLE a, z",
        ] {
            let scope = scope("shop", "m");
            let Concern::FallBack(cursor) = scope.concern(&ddl(sql), "shop") else {
                panic!("{sql}: {:?}", scope.concern(&ddl(sql), "shop"));
            };
            for table in ["a", "m", "old", "z"] {
                assert!(!cursor.is_live("shop", table), "{sql}: {table}");
            }
            assert!(cursor.is_live("crm", "zone"));
        }
    }

    #[test]
    fn a_table_that_changes_while_it_is_copied_is_copied_once_more() {
        let under_way = scope("shop", "m");
        for sql in [
            "ALTER TABLE m DROP PRIMARY KEY",
            "DROP INDEX `PRIMARY` ON m",
            "CREATE UNIQUE INDEX i ON m (v)",
            "RENAME TABLE m TO k",
            "ALTER TABLE m RENAME TO k",
            "RENAME TABLE m TO k, l TO m",
        ] {
            let Concern::FallBack(cursor) = under_way.concern(&ddl(sql), "shop") else {
                panic!("{sql}: {:?}", under_way.concern(&ddl(sql), "shop"));
            };
            let moved = if sql.contains(" k") { "k" } else { "m" };
            for table in [moved, "m", "n"] {
                assert!(!cursor.is_live("shop", table), "{sql}: {table}");
            }
            assert!(cursor.is_live("crm", "zone"), "{sql}");
        }
        for sql in ["TRUNCATE m", "DROP TABLE m", "CREATE TABLE a LIKE m"] {
            assert_eq!(under_way.concern(&ddl(sql), "shop"), Concern::Carry, "{sql}");
        }
        let mut done = scope("shop", "m");
        done.cursor.iter_mut().for_each(|cursor| cursor.complete = true);
        assert_eq!(done.concern(&ddl("RENAME TABLE m TO k"), "shop"), Concern::Carry);
    }

    #[test]
    fn what_a_statement_that_is_left_takes_away_is_named() {
        for (sql, wanted) in [
            ("DROP TABLE y, crm.z", &[("shop", "y"), ("crm", "z")][..]),
            ("DROP VIEW v", &[("shop", "v")]),
            ("RENAME TABLE y TO old, new TO y", &[("shop", "new")]),
            ("ALTER TABLE z RENAME TO a, ADD b INT", &[("shop", "z")]),
            ("ALTER TABLE z ADD b INT", &[]),
            ("TRUNCATE z", &[]),
        ] {
            let wanted: Vec<_> =
                wanted.iter().map(|(d, t)| (d.to_string(), t.to_string())).collect();
            assert_eq!(scope("shop", "m").gone(&ddl(sql), "shop"), wanted, "{sql}");
        }
    }

    #[test]
    fn a_watch_counts_the_statements_that_may_change_its_table() {
        let mut scope = scope("shop", "m");
        scope.watch(Some(("shop".into(), "m".into())));
        for (sql, counts) in [
            ("ALTER TABLE a ADD x INT", 0),
            ("ALTER TABLE m ADD x INT", 1),
            ("DROP DATABASE shop", 1),
        ] {
            scope.watch(Some(("shop".into(), "m".into())));
            scope.note_statement(Some(&ddl(sql)), "shop");
            assert_eq!(scope.seen().statements, counts, "{sql}");
        }
        scope.watch(None);
        scope.note_statement(None, "shop");
        assert_eq!(scope.seen().statements, 1);
    }
}
