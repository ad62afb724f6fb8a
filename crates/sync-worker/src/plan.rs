//! From what happened to a table to the statements that make it happen at the target. Pure.

use crate::acting;
use crate::copy;
use crate::ddl::collation;
use crate::fit;
use crate::keyless::{self, Prepared};
use crate::literal::{Encoding, LiteralError};
use crate::net::{Change, Changes, Key, Net, RowRef, Side, TableWork};
use crate::render::{Columns, Verb, Writer};
use crate::script::{Expect, Script};
use crate::target::{Charsets, TargetColumn, TargetTable};
use tributary_wire::{Cell, ColumnKind, ColumnShape};

/// Why the changes of a table cannot be written: the same changes fail the same way until someone
/// mends the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The target has no such table.
    #[error("table {table} does not exist at the target")]
    TableMissing {
        /// `database.table`.
        table: String,
    },
    /// The target's table lacks a column.
    #[error("column {column} of table {table} does not exist at the target")]
    ColumnMissing {
        /// `database.table`.
        table: String,
        /// The column.
        column: String,
    },
    /// The target would bend values of a column, or refuse them.
    #[error(
        "column {column} of table {table} is {source_type} at the device and {target_type} at the target, which does not hold all of its values as they are"
    )]
    TypeDiffers {
        /// `database.table`.
        table: String,
        /// The column.
        column: String,
        /// The device's type, as its log tells it.
        source_type: String,
        /// The target's type.
        target_type: String,
    },
    /// The primary keys differ.
    #[error(
        "table {table} has the primary key ({source_key}) at the device and ({target_key}) at the target"
    )]
    KeyDiffers {
        /// `database.table`.
        table: String,
        /// The device's key columns.
        source_key: String,
        /// The target's key columns.
        target_key: String,
    },
    /// Which rows are one and the same is decided otherwise than at the device.
    #[error(
        "column {column} of table {table} is unique by collation {source_collation} at the device and by {target_collation} at the target: rows that differ at the device could be one row here"
    )]
    CollationDiffers {
        /// `database.table`.
        table: String,
        /// The column.
        column: String,
        /// What the device compares by, or the nearest that the target has.
        source_collation: String,
        /// What the target compares by.
        target_collation: String,
    },
    /// A row is longer than the server takes.
    #[error(
        "a row of table {table} needs a statement of {bytes} bytes, the target takes {bytes_max}"
    )]
    RowTooLarge {
        /// `database.table`.
        table: String,
        /// What the row needs.
        bytes: usize,
        /// What the server takes.
        bytes_max: usize,
    },
    /// Rows follow others by foreign keys that the shared tables do not have.
    #[error(
        "rows follow those of table {table} by a foreign key that cascades or sets NULL: what it does at the device is in no binlog, and tables that devices share have no foreign keys"
    )]
    CascadesShared {
        /// `database.table`.
        table: String,
    },
    /// Rows follow others by foreign keys of which a table has several.
    #[error(
        "rows follow those of table {table} by a foreign key that cascades or sets NULL: what it does at the device is in no binlog, and as table {several} of the device has more than one such key, it is not proved that this MySQL shard would do the same"
    )]
    CascadesUnproved {
        /// `database.table`.
        table: String,
        /// `database.table`.
        several: String,
    },
    /// A value of the key is too large for a message.
    #[error("a row of table {table} has a key that is too large for a message")]
    KeyTooLarge {
        /// `database.table`.
        table: String,
    },
    /// A value is said to be in more pieces than any value has, or in none.
    #[error("a value of table {table} is said to be in {count} pieces")]
    Pieces {
        /// `database.table`.
        table: String,
        /// How many.
        count: u32,
    },
    /// A value does not fit its column's kind.
    #[error("table {table}: {source}")]
    Value {
        /// `database.table`.
        table: String,
        /// The value.
        source: LiteralError,
    },
}

// === impl PlanError ===

impl PlanError {
    /// What a person has to do before the device can go on.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::TableMissing { .. } => {
                "create the table at the shard as the device has it, with the device's rows up to the watermark, or drop the device's databases and its watermark there, so that it begins anew; then release the device"
            }
            Self::ColumnMissing { .. } => {
                "add the column at the shard as the device has it, then release the device"
            }
            Self::TypeDiffers { .. } => {
                "at the shard, ALTER TABLE … MODIFY the column, and give it the device's type, as SHOW CREATE TABLE on the device says it; then release the device. Where a statement of the device's, not a hand, made it otherwise, what the table holds may be cut already: drop the device's databases and its watermark at the shard instead, so that it begins anew"
            }
            Self::KeyDiffers { .. } => {
                "give the table at the shard the device's primary key, then release the device"
            }
            Self::CollationDiffers { .. } => {
                "at the shard, run ALTER TABLE … MODIFY with COLLATE for that column (or CONVERT TO CHARACTER SET … COLLATE for the table) with a collation that compares as the device's does, then release the device; MariaDB before 10.10 has none that compares as those of MySQL 8"
            }
            Self::RowTooLarge { .. } => {
                "raise max_allowed_packet at the shard above the device's largest row, then release the device"
            }
            Self::CascadesShared { .. } => {
                "hold the device on a shard of the layout schema_per_device; or make the foreign key RESTRICT at the device, or upgrade it to MySQL 9.6 or later without innodb_native_foreign_keys, which logs these rows, and drop the device's watermark and its rows at the shard, so that it begins anew"
            }
            Self::CascadesUnproved { .. } => {
                "hold the device on a shard of MariaDB; or leave no table with more than one foreign key that cascades or sets NULL at the device, or upgrade it to MySQL 9.6 or later without innodb_native_foreign_keys, which logs these rows, and drop the device's watermark and databases at the shard, so that it begins anew"
            }
            Self::KeyTooLarge { .. } => {
                "raise max_payload in nats-server's configuration, and on every leaf, or give the table a shorter key at the device; then release the device"
            }
            Self::Value { .. } | Self::Pieces { .. } => {
                "the batch contradicts itself: upgrade the device's publisher, then release the device"
            }
        }
    }
}

/// What a plan has to know besides the changes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose changes they are; see [`Script::add`].
    pub owner: usize,
    /// The table's database at the target.
    pub database: &'a str,
    /// The table at the target.
    pub target: &'a TargetTable,
    /// The target's character sets.
    pub charsets: &'a Charsets,
    /// The table of pieces of large values.
    pub pieces: &'a str,
    /// The column that says whose a row is, where the target's table is shared by devices.
    pub device_column: Option<&'a str>,
    /// The target is MariaDB.
    pub mariadb: bool,
    /// How long a statement should be, in bytes.
    pub statement_bytes: usize,
    /// How long a statement may be, in bytes: the server's `max_allowed_packet`.
    pub statement_bytes_max: usize,
}

/// Appends the statements for the changes of one table. Those of several devices are alike: keyed, with
/// the same columns.
///
/// # Errors
/// [`PlanError`]; the script then holds a part of them and must not be run.
pub fn plan(
    works: &[&TableWork<'_>],
    context: Context<'_>,
    script: &mut Script,
) -> Result<(), PlanError> {
    let Some((work, others)) = works.split_first() else { return Ok(()) };
    let columns = columns(work, &context)?;
    let writer = Writer::new(work, context, &columns);
    match &work.changes {
        Changes::Keyed(fold) if others.is_empty() => {
            keyed(fold.effects(), work.displaces, &writer, script)
        }
        Changes::Keyed(_) => {
            let folds = works.iter().filter_map(|work| match &work.changes {
                Changes::Keyed(fold) => Some(fold.effects()),
                Changes::Keyless(_) | Changes::Acting(_) | Changes::Chunk(_) => None,
            });
            let effects: Vec<Net<'_>> = folds.flatten().copied().collect();
            let displaces = works.iter().any(|work| work.displaces);
            keyed(&effects, displaces, &writer, script)
        }
        Changes::Keyless(changes) => keyless(changes, &writer, script),
        Changes::Acting(_) if context.device_column.is_some() => {
            Err(PlanError::CascadesShared { table: writer.name() })
        }
        Changes::Acting(changes) => match &work.unproved {
            Some(several) => {
                Err(PlanError::CascadesUnproved { table: writer.name(), several: several.clone() })
            }
            None => acting::plan(changes, work, &writer, script),
        },
        Changes::Chunk(rows) => copy::chunk(rows, &writer, script),
    }
}

/// Many changes of a table without a key, for the statements of [`crate::keyless`]; `None` where [`plan`] does as
/// well.
///
/// # Errors
/// [`PlanError`].
pub(crate) fn in_sets<'a>(
    work: &'a TableWork<'a>,
    context: Context<'_>,
) -> Result<Option<Prepared<'a>>, PlanError> {
    let Changes::Keyless(changes) = &work.changes else { return Ok(None) };
    let columns = columns(work, &context)?;
    let bulk = keyless::fold(changes, &Writer::new(work, context, &columns));
    Ok(bulk.map(|bulk| Prepared { work, columns, bulk }))
}

/// Matches the device's columns with the target's.
fn columns(work: &TableWork<'_>, context: &Context<'_>) -> Result<Columns, PlanError> {
    let table = || format!("{}.{}", context.database, work.shape.table);
    let of_source = |&index: &u16| work.shape.columns[usize::from(index)].name.as_str();
    let names = || context.device_column.into_iter().chain(work.identity.iter().map(of_source));
    let same = match (work.shape.has_key(), context.device_column) {
        (true, _) => context.target.has_key(names().collect::<Vec<_>>().into_iter()),
        // A key that another device's table has would make one of two equal rows.
        (false, Some(_)) => context.target.is_without_key(),
        (false, None) => true,
    };
    if !same {
        let source_key = if work.shape.has_key() { names().collect() } else { Vec::new() };
        return Err(PlanError::KeyDiffers {
            table: table(),
            source_key: source_key.join(", "),
            target_key: context.target.primary_key.join(", "),
        });
    }
    let shared_by_key = context.device_column.is_some() && work.shape.has_key();
    let mut columns = Columns { written: Vec::new(), encodings: Vec::new() };
    for (index, column) in work.shape.columns.iter().enumerate() {
        let target = context.target.column(&column.name).ok_or_else(|| {
            PlanError::ColumnMissing { table: table(), column: column.name.clone() }
        })?;
        check_collation(column, target, context.charsets).map_err(
            |(source_collation, target_collation)| PlanError::CollationDiffers {
                table: table(),
                column: column.name.clone(),
                source_collation,
                target_collation,
            },
        )?;
        let shared = context.device_column.is_some();
        if !fit::holds(column, target, context.charsets, shared) {
            return Err(PlanError::TypeDiffers {
                table: table(),
                column: column.name.clone(),
                source_type: fit::described(column, context.charsets),
                target_type: described(target),
            });
        }
        if !target.generated {
            columns.written.push(index);
        }
        let encoding = match encoding(column, target, context.charsets) {
            // A shared column may take on another character set at any time: each value says its own.
            Encoding::AsIs if shared_by_key => own_charset(column, context.charsets),
            encoding => encoding,
        };
        columns.encodings.push(encoding);
    }
    Ok(columns)
}

/// The target's type for a person.
fn described(target: &TargetColumn) -> String {
    match &target.charset {
        Some(charset) => format!("{} in {charset}", target.text),
        None => target.text.clone(),
    }
}

/// A unique character column must compare as the device's does: a default collation that differs
/// between two servers would otherwise make one row of two, without an error.
fn check_collation(
    column: &ColumnShape,
    target: &TargetColumn,
    charsets: &Charsets,
) -> Result<(), (String, String)> {
    if column.kind != ColumnKind::Text || !target.unique {
        return Ok(());
    }
    let id = column.collation;
    let Some(found) = target.collation.as_ref().filter(|_| id != 0) else { return Ok(()) };
    let known = charsets.collation(id);
    if known.map_or_else(|| collation::is_like(id, found), |wanted| wanted == found) {
        return Ok(());
    }
    let wanted = known.map(str::to_owned).or_else(|| collation::name(id, charsets));
    let wanted = wanted.filter(|wanted| wanted != found);
    Err((wanted.unwrap_or_else(|| format!("number {id}, which is not here")), found.clone()))
}

fn encoding(column: &ColumnShape, target: &TargetColumn, charsets: &Charsets) -> Encoding {
    let utf8 = || Encoding::Introduced("utf8mb4".to_owned());
    match (column.kind, &target.charset, charsets.charset(column.collation)) {
        (ColumnKind::Json, _, _) if target.json => Encoding::Json,
        (ColumnKind::Json, _, _) => utf8(),
        (ColumnKind::Text, _, _) if target.json => utf8(),
        (ColumnKind::Text, Some(target), Some(source)) if target != source => {
            Encoding::Introduced(source.to_owned())
        }
        _ => Encoding::AsIs,
    }
}

fn own_charset(column: &ColumnShape, charsets: &Charsets) -> Encoding {
    match charsets.charset(column.collation).filter(|_| column.kind == ColumnKind::Text) {
        Some(charset) => Encoding::Introduced(charset.to_owned()),
        None => Encoding::AsIs,
    }
}

/// Deletes go first, then what there is to be: a value that one row gave up and another took is free
/// by then. With a second UNIQUE index `ON DUPLICATE KEY UPDATE` could hit another row than the key's,
/// so there every touched key is deleted and the final images are inserted plainly.
pub(crate) fn keyed(
    effects: &[Net<'_>],
    displaces: bool,
    writer: &Writer<'_>,
    script: &mut Script,
) -> Result<(), PlanError> {
    let unique = writer.unique_secondary();
    let replace = |row: &RowRef<'_>| unique || writer.error_values(row) > 0;
    let gone = effects.iter().filter_map(|effect| match effect {
        Net::Delete(key) => Some(*key),
        Net::Upsert(row) => replace(row).then_some(Key::Image(*row)),
    });
    writer.delete_keys(gone, script)?;
    let images = || {
        effects.iter().filter_map(|effect| match effect {
            Net::Upsert(row) => Some(*row),
            Net::Delete(_) => None,
        })
    };
    store(Verb::Upsert, images().filter(|row| !replace(row)), writer, script)?;
    let verb = if displaces && unique { Verb::Replace } else { Verb::Insert };
    store(verb, images().filter(|row| replace(row)), writer, script)
}

fn keyless(
    changes: &[Change<'_>],
    writer: &Writer<'_>,
    script: &mut Script,
) -> Result<(), PlanError> {
    let mut rest = changes;
    while let Some((first, tail)) = rest.split_first() {
        let is_insert = |change: &&Change<'_>| matches!(change, Change::Insert(_));
        let inserts = rest.iter().take_while(is_insert).count();
        match first {
            Change::Insert(_) => {
                let rows = rest[..inserts].iter().filter_map(|change| match change {
                    Change::Insert(row) => Some(*row),
                    Change::Update(..) | Change::Delete(_) => None,
                });
                store(Verb::Insert, rows, writer, script)?;
                rest = &rest[inserts..];
                continue;
            }
            Change::Update(old, new) => writer.update_one(old, new, script)?,
            Change::Delete(old) => writer.delete_one(old, script)?,
        }
        rest = tail;
    }
    Ok(())
}

/// Writes images, many in a statement. A row that holds an ENUM's error value goes alone, past the strict
/// mode that refuses it; one with a value in pieces goes alone behind what puts it together.
pub(crate) fn store<'a>(
    verb: Verb,
    rows: impl Iterator<Item = RowRef<'a>> + Clone,
    writer: &Writer<'_>,
    script: &mut Script,
) -> Result<(), PlanError> {
    let is_alone = |row: &RowRef<'a>| writer.error_values(row) > 0 || writer.is_staged(row);
    writer.images(verb, rows.clone().filter(|row| !is_alone(row)), Expect::Success, script)?;
    for row in rows.filter(is_alone) {
        let write = |script: &mut Script| match writer.error_values(&row) {
            0 => writer.images(verb, std::iter::once(row), Expect::Success, script),
            values => writer.leniently(script, |script| {
                let expect = Expect::WarningsAtMost(values);
                writer.images(verb, std::iter::once(row), expect, script)
            }),
        };
        writer.assembled(&[(row, Side::Image)], script, write)?;
    }
    Ok(())
}

/// True for the number 0 of an ENUM: the value '' that MySQL stores for what was no member, and that a
/// strict session refuses to store again.
pub(crate) fn is_error_value(kind: ColumnKind, cell: Option<Cell>) -> bool {
    kind == ColumnKind::Enum && cell == Some(Cell::Int(0))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
