//! What a statement is to someone who copies tables.

/// A statement of the binlog, by what has to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Changes tables, views or databases: apply it.
    Ddl(Ddl),
    /// Defines code that runs at the source only: kept for a restore, never activated, because row
    /// events already hold its effects.
    Routine {
        /// What sort of code.
        kind: RoutineKind,
        /// What is done to it.
        verb: RoutineVerb,
        /// Its name.
        name: TableRef,
    },
    /// Nothing for a copy of the tables: accounts, maintenance, session state, temporary tables.
    Ignored {
        /// Which of these.
        why: &'static str,
    },
    /// Begins, ends or divides a transaction.
    Transaction(TransactionKind),
    /// Changes rows, and is logged as the statement and not as its rows: the session's
    /// `binlog_format` was not ROW.
    Dml {
        /// Its first word, in capitals: `INSERT`.
        verb: &'static str,
    },
    /// Not understood. The device has to stop; skipping it could lose data.
    Unknown {
        /// The first 120 characters, printable, every string masked: it may hold a password.
        text: String,
    },
}

/// A statement that changes tables, views or databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ddl {
    /// What it does.
    pub kind: DdlKind,
    /// Every table or view that it creates, changes, drops or renames, in the statement's order; both
    /// names of a rename.
    pub tables: Vec<TableRef>,
    /// The tables and views that it only refers to: `LIKE`, `REFERENCES`, the sources of a SELECT.
    pub reads: Vec<TableRef>,
    /// Old and new name of every table it renames. Both are in `tables` too.
    pub renames: Vec<(TableRef, TableRef)>,
    /// The databases of CREATE, ALTER and DROP DATABASE. An ALTER DATABASE without a name, which means
    /// the default database, has none.
    pub databases: Vec<String>,
    /// Every database that the statement names, wherever it stands.
    pub mentions: Vec<String>,
    /// The conditions of its changes, of an ALTER TABLE or of an index (MariaDB).
    pub conditions: Vec<Condition>,
    /// `IF EXISTS` is there.
    pub if_exists: bool,
    /// `IF NOT EXISTS` is there.
    pub if_not_exists: bool,
    /// `OR REPLACE` is there.
    pub or_replace: bool,
    /// It is a CREATE TABLE … LIKE: what it makes is defined elsewhere, by the table in `reads`.
    pub like: bool,
    /// It is a CREATE TABLE that a SELECT fills. The binlog holds one only when the session's
    /// `binlog_format` was not ROW: its rows follow from the statement, and are not logged.
    pub filled_by_select: bool,
    /// It ends in `START TRANSACTION` (MySQL 8.0.21, CREATE TABLE … SELECT): the rows that follow
    /// belong to its transaction.
    pub starts_transaction: bool,
    /// The table is system-versioned (MariaDB): its past rows are part of it, and are in no binlog.
    pub system_versioning: bool,
    /// It adds an AUTO_INCREMENT column to a table that may have rows. The server numbers them in the
    /// order it finds them, which need not be the same in a copy.
    pub numbers_rows: bool,
    /// It adds a column whose default is another value in each evaluation, as `UUID()` is (MariaDB), or goes by a
    /// variable that the log does not say, as a division does: the rows that are there would get others in a copy.
    pub varies: bool,
    /// ALTER IGNORE TABLE (MariaDB): of rows that are equal in a unique key, or become so, one is kept, and which
    /// one depends on the order in which the server finds them.
    pub drops_duplicates: bool,
    /// `DISCARD` or `IMPORT TABLESPACE`: the rows come from a file, and are in no binlog.
    pub contents_from_file: bool,
}

/// What a [`Ddl`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DdlKind {
    /// CREATE TABLE.
    CreateTable,
    /// ALTER TABLE.
    AlterTable,
    /// DROP TABLE.
    DropTable,
    /// RENAME TABLE.
    RenameTable,
    /// TRUNCATE.
    TruncateTable,
    /// CREATE INDEX.
    CreateIndex,
    /// DROP INDEX.
    DropIndex,
    /// CREATE VIEW.
    CreateView,
    /// ALTER VIEW.
    AlterView,
    /// DROP VIEW.
    DropView,
    /// CREATE, ALTER or DROP SEQUENCE (MariaDB).
    Sequence,
    /// CREATE DATABASE.
    CreateDatabase,
    /// ALTER DATABASE.
    AlterDatabase,
    /// DROP DATABASE.
    DropDatabase,
}

/// A condition under which a change is made: `ADD COLUMN IF NOT EXISTS c`, `DROP INDEX IF EXISTS i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is or is not there.
    pub what: Part,
    /// Its name.
    pub name: String,
    /// The change is made where it is there; otherwise where it is not.
    pub if_exists: bool,
}

/// A part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// A column.
    Column,
    /// An index.
    Index,
    /// A foreign key, or a CHECK.
    Constraint,
    /// A partition.
    Partition,
}

/// The name of a table, a view, or another object in a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableRef {
    /// The database, where the statement names it; otherwise it is the session's default database.
    pub database: Option<String>,
    /// The name itself.
    pub table: String,
}

/// What sort of code a [`Statement::Routine`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoutineKind {
    /// TRIGGER.
    Trigger,
    /// PROCEDURE.
    Procedure,
    /// FUNCTION.
    Function,
    /// EVENT.
    Event,
    /// PACKAGE (MariaDB).
    Package,
    /// PACKAGE BODY (MariaDB).
    PackageBody,
    /// LIBRARY (MySQL 9).
    Library,
}

/// What a [`Statement::Routine`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoutineVerb {
    /// CREATE, or CREATE OR REPLACE.
    Create,
    /// ALTER.
    Alter,
    /// DROP.
    Drop,
}

/// Transaction control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionKind {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK of everything.
    Rollback,
    /// SAVEPOINT.
    Savepoint {
        /// Its name.
        name: String,
    },
    /// ROLLBACK TO.
    RollbackTo {
        /// The savepoint's name.
        name: String,
    },
    /// RELEASE SAVEPOINT.
    Release {
        /// The savepoint's name.
        name: String,
    },
    /// XA.
    Xa {
        /// Which step.
        verb: Xa,
        /// The identifier as the server writes it: `X'7465',X'',1`.
        xid: String,
    },
}

/// A step of an XA transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Xa {
    /// XA START, XA BEGIN.
    Start,
    /// XA END.
    End,
    /// XA PREPARE.
    Prepare,
    /// XA COMMIT without ONE PHASE: of a transaction that was prepared.
    Commit,
    /// XA COMMIT … ONE PHASE.
    CommitOnePhase,
    /// XA ROLLBACK.
    Rollback,
}

// === impl Ddl ===

impl Ddl {
    pub(crate) fn new(kind: DdlKind) -> Self {
        Self {
            kind,
            tables: Vec::new(),
            reads: Vec::new(),
            renames: Vec::new(),
            databases: Vec::new(),
            mentions: Vec::new(),
            conditions: Vec::new(),
            if_exists: false,
            if_not_exists: false,
            or_replace: false,
            like: false,
            filled_by_select: false,
            starts_transaction: false,
            system_versioning: false,
            numbers_rows: false,
            varies: false,
            drops_duplicates: false,
            contents_from_file: false,
        }
    }
}
