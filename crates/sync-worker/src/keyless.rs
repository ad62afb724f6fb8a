//! Many changes of a table without a key, as work on sets of rows. Row by row each of them would read the
//! table up to the row that it changes; here the table is read twice, however many they are. Pure.
//!
//! What such a table holds is a multiset: how often each row is there. A change takes one copy away, adds one,
//! or both, and so do many of them together, in any order. So changes are folded to a number of copies for each
//! row. The shard is asked how many copies it has of the rows that lose some. All copies of a row go in one
//! statement with many other rows, which must find as many as were counted; what is to stay of them is inserted again.
//!
//! Rows are told apart by their digest ([`crate::likeness`]). Rows that the shard does not find by it, and those with
//! values in pieces, are looked for one by one, by all their values.

use crate::likeness::{self, Digest};
use crate::net::{Change, RowRef, Side, TableWork};
use crate::plan::{self, Context, PlanError};
use crate::render::{Columns, Verb, Writer};
use crate::script::{Expect, Script};
use std::collections::{BTreeSet, HashMap};
use tributary_schema::quote;
use tributary_wire::{Cell, ColumnKind};

/// Fewer changes are made one by one: each ends at the row that it finds, and is not counted before.
const CHANGES_MIN: usize = 16;
/// Rows that one statement looks for: the table is read once for each.
const ROWS_MAX: usize = 10_000;
/// What a digest takes in a statement, with its quotes and the comma.
const DIGEST_BYTES: usize = 67;
/// More copies than this are not taken away to be inserted again: so many as are to go are deleted, by a statement of
/// their own, which soon finds them.
const COPIES_MAX: u64 = 100;
/// Columns that an index begins with and whose values are named besides the digests, and how long such a list may be.
const INDEXED_MAX: usize = 2;
const INDEXED_BYTES_MAX: usize = 256 << 10;

/// How many copies of each row the shard has.
pub(crate) type Counts = HashMap<Digest, u64>;

/// What many changes do to a table without a key.
#[derive(Debug)]
pub(crate) struct Bulk<'a> {
    rows: Vec<Row<'a>>,
    /// Rows that have no digest, because a value of them is in pieces: to go, and to come.
    gone: Vec<RowRef<'a>>,
    come: Vec<RowRef<'a>>,
    /// The shard's expression for a row's digest.
    digest: String,
}

/// What becomes of the copies of one row.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    digest: Digest,
    /// So many copies more, or fewer.
    copies: i64,
    /// The row where it came, and where it went.
    image: Option<RowRef<'a>>,
    identity: Option<RowRef<'a>>,
}

/// Folds changes; `None` when they are so few, or so simple, that they are better made one by one, or when rows
/// cannot be told apart by a digest.
pub(crate) fn fold<'a>(changes: &[Change<'a>], writer: &Writer<'_>) -> Option<Bulk<'a>> {
    let takes = |change: &&Change<'_>| !matches!(change, Change::Insert(_));
    if changes.iter().filter(takes).count() < CHANGES_MIN {
        return None;
    }
    let digest = likeness::expression(writer)?;
    let mut bulk = Bulk { rows: Vec::new(), gone: Vec::new(), come: Vec::new(), digest };
    let mut places = HashMap::new();
    for change in changes {
        let (old, new) = match *change {
            Change::Insert(new) => (None, Some(new)),
            Change::Update(old, new) => (Some(old), Some(new)),
            Change::Delete(old) => (Some(old), None),
        };
        if let Some(old) = old {
            bulk.take_in(old, Side::Identity, writer, &mut places);
        }
        if let Some(new) = new {
            bulk.take_in(new, Side::Image, writer, &mut places);
        }
    }
    Some(bulk)
}

// === impl Bulk ===

impl<'a> Bulk<'a> {
    fn take_in(
        &mut self,
        row: RowRef<'a>,
        side: Side,
        writer: &Writer<'_>,
        places: &mut HashMap<Digest, usize>,
    ) {
        let Some(digest) = likeness::digest(writer, &row, side) else {
            match side {
                Side::Image => self.come.push(row),
                Side::Identity => self.gone.push(row),
            }
            return;
        };
        let place = *places.entry(digest).or_insert_with(|| {
            self.rows.push(Row { digest, copies: 0, image: None, identity: None });
            self.rows.len() - 1
        });
        let known = &mut self.rows[place];
        match side {
            Side::Image => {
                known.image = Some(row);
                known.copies += 1;
            }
            Side::Identity => {
                known.identity = Some(row);
                known.copies -= 1;
            }
        }
    }

    /// The rows that lose copies: as they were, how many go, and their digests.
    fn losses(&self) -> impl Iterator<Item = (RowRef<'a>, u64, Digest)> {
        self.rows.iter().filter(|row| row.copies < 0).filter_map(|row| {
            row.identity.map(|identity| (identity, row.copies.unsigned_abs(), row.digest))
        })
    }

    /// What the shard has to be asked before anything is written: each answer is of rows `(digest, copies)`.
    pub(crate) fn questions(&self, writer: &Writer<'_>) -> Vec<String> {
        let losses: Vec<_> = self.losses().map(|(row, _, digest)| (row, digest)).collect();
        let question = |rows: &[(RowRef<'a>, Digest)]| {
            let found = self.found(rows, writer);
            format!("SELECT {},COUNT(*) FROM {}{found} GROUP BY 1", self.digest, writer.table)
        };
        losses.chunks(rows_max(&writer.context)).map(question).collect()
    }

    /// Adds the statements. False, and nothing is added, when it has to be done one by one.
    ///
    /// # Errors
    /// [`PlanError`].
    pub(crate) fn plan(
        &self,
        counts: &Counts,
        writer: &Writer<'_>,
        script: &mut Script,
    ) -> Result<bool, PlanError> {
        let (mut whole, mut back, mut some) = (Vec::new(), Vec::new(), Vec::new());
        let mut missing = self.gone.clone();
        for (row, copies, digest) in self.losses() {
            let there = counts.get(&digest).copied().unwrap_or(0);
            // An ENUM's error value cannot be inserted again together with others.
            let is_plain = writer.error_values_of(&row, Side::Identity) == 0;
            match there.checked_sub(copies) {
                None => missing.extend((0..copies).map(|_| row)),
                Some(rest) if rest == 0 || (rest <= COPIES_MAX && is_plain) => {
                    whole.push((row, digest, there));
                    back.extend((0..rest).map(|_| row));
                }
                Some(_) => some.push((row, digest, copies)),
            }
        }
        // A row that is not gone yet could be in the way of one that has its unique value.
        if !missing.is_empty() && writer.unique_secondary() {
            return Ok(false);
        }
        for rows in whole.chunks(rows_max(&writer.context)) {
            let found: Vec<_> = rows.iter().map(|(row, digest, _)| (*row, *digest)).collect();
            let copies = rows.iter().map(|(_, _, copies)| copies).sum();
            self.delete(&found, copies, "", writer, script)?;
        }
        for (row, digest, copies) in some {
            self.delete(&[(row, digest)], copies, &format!(" LIMIT {copies}"), writer, script)?;
        }
        writer.identities(back.into_iter(), script)?;
        let gains = self.rows.iter().filter_map(|row| row.image.map(|image| (image, row.copies)));
        let come = gains.flat_map(|(image, copies)| (0..copies).map(move |_| image));
        plan::store(Verb::Insert, come.chain(self.come.iter().copied()), writer, script)?;
        missing.iter().try_for_each(|row| writer.delete_one(row, script))?;
        Ok(true)
    }

    fn delete(
        &self,
        rows: &[(RowRef<'a>, Digest)],
        copies: u64,
        limit: &str,
        writer: &Writer<'_>,
        script: &mut Script,
    ) -> Result<(), PlanError> {
        let found = self.found(rows, writer);
        let sql = format!("DELETE FROM {}{found}{limit}", writer.table);
        writer.check_length(sql.len())?;
        script.push(writer.context.owner, Expect::Rows(copies), sql.as_bytes());
        Ok(())
    }

    /// ` WHERE …` that finds every copy of these rows.
    fn found(&self, rows: &[(RowRef<'a>, Digest)], writer: &Writer<'_>) -> String {
        let mut condition = Vec::new();
        if let Some((row, _)) = rows.first() {
            writer.where_device(&mut condition, &row.batch.header.device);
        }
        let mut condition = String::from_utf8_lossy(&condition).into_owned();
        let indexed = writer.columns.written.iter().filter_map(|&at| values(rows, at, writer));
        for values in indexed.take(INDEXED_MAX) {
            condition.push_str(&values);
        }
        let digests = rows.iter().map(|(_, digest)| format!("'{}'", likeness::to_hex(digest)));
        let digests = digests.collect::<Vec<_>>().join(",");
        format!("{condition}{} IN ({digests})", self.digest)
    }
}

/// `(column IN (…)) AND ` for a column that an index begins with.
fn values(rows: &[(RowRef<'_>, Digest)], index: usize, writer: &Writer<'_>) -> Option<String> {
    use ColumnKind::{Date, DateTime, Decimal, Integer, Text, Timestamp};
    let column = writer.shape(index);
    let is_indexed = writer.context.target.indexed.contains(&column.name.to_lowercase());
    if !is_indexed || !matches!(column.kind, Integer | Decimal | Date | DateTime | Timestamp | Text)
    {
        return None;
    }
    let (mut values, mut bytes, mut nulls) = (BTreeSet::new(), 0, false);
    for (row, _) in rows {
        let cell = row.identity(index).unwrap_or(Cell::Null);
        let mut value = Vec::new();
        match cell {
            Cell::Null => nulls = true,
            _ if column.kind == Text => {
                value = writer.plain(index, cell, |cell| row.bytes(cell))?;
            }
            _ => writer
                .value(&mut value, index, Some(cell), Side::Identity, |cell| row.bytes(cell))
                .ok()?,
        }
        if cell != Cell::Null {
            bytes += value.len() + 1;
            values.insert(String::from_utf8(value).ok()?);
        }
        if bytes > INDEXED_BYTES_MAX {
            return None;
        }
    }
    let name = quote(&column.name);
    let list = values.into_iter().collect::<Vec<_>>().join(",");
    Some(match (list.is_empty(), nulls) {
        (false, false) => format!("({name} IN ({list})) AND "),
        (false, true) => format!("({name} IN ({list}) OR {name} IS NULL) AND "),
        (true, _) => format!("({name} IS NULL) AND "),
    })
}

fn rows_max(context: &Context<'_>) -> usize {
    (context.statement_bytes_max / 4 / DIGEST_BYTES).clamp(1, ROWS_MAX)
}

/// The columns and changes of a table that may be folded.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) work: &'a TableWork<'a>,
    pub(crate) columns: Columns,
    pub(crate) bulk: Bulk<'a>,
}
