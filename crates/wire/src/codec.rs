//! The body of a message: header, transactions, statements, tables, one MessagePack value after
//! another. `schemas/wire/batch.md` is the specification.

use crate::batch::{Batch, Header, Op, Run, Statement, TableBlock, Transaction};
use crate::builder::TableDraft;
use crate::{Cell, DecodeError, Position, TableShape, cell, frame};
use serde::de::DeserializeOwned;

/// What a reader will allocate for one message.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the body after decompression.
    pub body_bytes_max: u32,
    /// Cells in all tables together; a cell takes 16 bytes in memory, whatever it takes on the wire.
    pub cells_max: u64,
}

impl Default for Limits {
    /// 64 MiB of body and 4 Mi cells.
    fn default() -> Self {
        Self { body_bytes_max: 64 << 20, cells_max: 4 << 20 }
    }
}

const RUN_STATEMENT: u8 = 4;
const RUN_SKIPPED: u8 = 5;

/// How many bytes a table's shape takes in a body.
pub(crate) fn shape_bytes(shape: &TableShape) -> usize {
    const PER_COLUMN: usize = 24;
    let names = shape.columns.iter().map(|column| column.name.len() + PER_COLUMN).sum::<usize>();
    names + shape.database.len() + shape.table.len() + shape.primary_key.len() * 3 + PER_COLUMN
}

pub(crate) fn encode(
    header: &Header,
    transactions: &[Transaction],
    tables: &[TableDraft],
    statements: &[Statement],
) -> Vec<u8> {
    let mut out = Vec::new();
    write_serde(&mut out, header);
    encode_transactions(&mut out, header, transactions);
    write_serde(&mut out, &statements);
    write_uint(&mut out, tables.len() as u64);
    for draft in tables {
        let len =
            |columns: &[crate::ColumnBuffer]| columns.first().map_or(0, |c| u64::from(c.len()));
        write_serde(&mut out, draft.shape.as_ref());
        write_uint(&mut out, len(&draft.columns.images));
        write_uint(&mut out, len(&draft.columns.identities));
        for column in draft.columns.images.iter().chain(&draft.columns.identities) {
            out.extend_from_slice(column.encoded());
        }
    }
    out
}

/// Offsets and times are written as differences from the transaction before.
fn encode_transactions(out: &mut Vec<u8>, header: &Header, transactions: &[Transaction]) {
    write_uint(out, transactions.len() as u64);
    let (mut at, mut time_us) = (header.prev, header.commit_time_first_us);
    for transaction in transactions {
        let (start, end) = (transaction.start, transaction.end);
        if start.file != at.file {
            at.offset = 0;
        }
        write_uint(out, u64::from(start.file.wrapping_sub(at.file)));
        write_uint(out, start.offset.wrapping_sub(at.offset));
        write_uint(out, start.part);
        // A transaction has at least one event, so 0 is free to say "goes on in the next batch".
        let complete = end.is_boundary();
        write_uint(out, if complete { end.offset.wrapping_sub(start.offset) } else { 0 });
        let _ = rmp::encode::write_sint(out, transaction.commit_time_us.wrapping_sub(time_us));
        write_uint(out, transaction.runs.len() as u64);
        for run in &transaction.runs {
            let (code, table, count) = match *run {
                Run::Rows { table, op, count, .. } => (op as u8, table, count),
                Run::Statement(index) => (RUN_STATEMENT, index, 1),
                Run::Skipped(count) => (RUN_SKIPPED, 0, count),
            };
            write_uint(out, u64::from(code));
            write_uint(out, u64::from(table));
            write_uint(out, u64::from(count));
        }
        at = end;
        time_us = transaction.commit_time_us;
    }
}

fn write_uint(out: &mut Vec<u8>, value: u64) {
    // Writing to a Vec cannot fail.
    let _ = rmp::encode::write_uint(out, value);
}

fn write_serde(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Our own types hold nothing that MessagePack cannot say.
    let _ = rmp_serde::encode::write(out, value);
}

impl Batch {
    /// Reads a message, allocating no more than `limits` allow.
    ///
    /// # Errors
    /// See [`DecodeError`]; the message will never decode.
    pub fn decode(message: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let body = frame::open(message, limits.body_bytes_max)?;
        let mut reader = Reader { body: &body, at: 0 };
        let header: Header = reader.serde()?;
        let mut transactions = read_transactions(&mut reader, &header)?;
        let statements: Vec<Statement> = reader.serde()?;
        let tables = read_tables(&mut reader, limits.cells_max)?;
        if reader.at != body.len() {
            return Err(DecodeError::Inconsistent(format!(
                "{} bytes follow the last table",
                body.len() - reader.at
            )));
        }
        assign_rows(&mut transactions, &tables, statements.len())?;
        check_positions(&header, &transactions)?;
        Ok(Self { header, transactions, tables, statements, body })
    }
}

fn read_transactions(
    reader: &mut Reader,
    header: &Header,
) -> Result<Vec<Transaction>, DecodeError> {
    let count = reader.count()?;
    let mut transactions = Vec::with_capacity(count);
    let (mut at, mut time_us) = (header.prev, header.commit_time_first_us);
    for _ in 0..count {
        let files = u32::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        if files > 0 {
            at.offset = 0;
        }
        let start = Position {
            epoch: header.prev.epoch,
            file: add(u64::from(at.file), u64::from(files))?
                .try_into()
                .map_err(DecodeError::damaged)?,
            offset: add(at.offset, reader.uint()?)?,
            part: reader.uint()?,
        };
        let length = reader.uint()?;
        time_us = time_us.wrapping_add(reader.int()?);
        let runs = read_runs(reader)?;
        let changes = runs.iter().map(Run::changes).sum();
        let end = match length {
            0 => start.with_part(add(start.part, changes)?),
            _ => Position { offset: add(start.offset, length)?, part: 0, ..start },
        };
        transactions.push(Transaction { start, end, commit_time_us: time_us, runs });
        at = end;
    }
    Ok(transactions)
}

fn read_runs(reader: &mut Reader) -> Result<Vec<Run>, DecodeError> {
    let count = reader.count()?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let code = u8::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        let table = u32::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        let count = u32::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        runs.push(match code {
            RUN_STATEMENT => Run::Statement(table),
            RUN_SKIPPED => Run::Skipped(count),
            code => {
                let op = Op::from_code(code).ok_or_else(|| {
                    DecodeError::Inconsistent(format!("run code {code} is unknown"))
                })?;
                Run::Rows { table, op, image: 0, identity: 0, count }
            }
        });
    }
    Ok(runs)
}

fn read_tables(reader: &mut Reader, cells_max: u64) -> Result<Vec<TableBlock>, DecodeError> {
    let count = reader.count()?;
    let mut tables = Vec::with_capacity(count.min(1024));
    let mut cells_left = cells_max;
    for _ in 0..count {
        let shape: TableShape = reader.serde()?;
        if shape.primary_key.iter().any(|&column| usize::from(column) >= shape.columns.len()) {
            return Err(DecodeError::Inconsistent(format!(
                "the key of {}.{} names a column it does not have",
                shape.database, shape.table
            )));
        }
        let identity = shape.identity();
        let (images, identities) = (reader.count()?, reader.count()?);
        let cells = (images as u64)
            .saturating_mul(shape.columns.len() as u64)
            .saturating_add((identities as u64).saturating_mul(identity.len() as u64));
        cells_left = cells_left.checked_sub(cells).ok_or(DecodeError::TooLarge {
            what: "the number of cells",
            found: cells_max.saturating_add(cells),
            limit: cells_max,
        })?;
        let images = reader.columns(shape.columns.len(), images)?;
        let identities = reader.columns(identity.len(), identities)?;
        tables.push(TableBlock { shape, identity, images, identities });
    }
    Ok(tables)
}

/// Gives every run the rows that are its own, and checks that each row has an owner.
fn assign_rows(
    transactions: &mut [Transaction],
    tables: &[TableBlock],
    statements: usize,
) -> Result<(), DecodeError> {
    let wrong = |what: &str| Err(DecodeError::Inconsistent(what.to_owned()));
    let mut next = vec![(0u32, 0u32); tables.len()];
    for run in transactions.iter_mut().flat_map(|transaction| &mut transaction.runs) {
        match run {
            Run::Rows { table, op, image, identity, count } => {
                let Some((images, identities)) = next.get_mut(*table as usize) else {
                    return wrong("a run names a table the batch does not hold");
                };
                (*image, *identity) = (*images, *identities);
                *images = images.saturating_add(if op.has_image() { *count } else { 0 });
                *identities = identities.saturating_add(if op.has_identity() { *count } else { 0 });
            }
            Run::Statement(index) if *index as usize >= statements => {
                return wrong("a run names a statement the batch does not hold");
            }
            Run::Statement(_) | Run::Skipped(_) => {}
        }
    }
    let len = |columns: &[Vec<Cell>]| columns.first().map_or(0, Vec::len);
    for (block, (images, identities)) in tables.iter().zip(next) {
        if (len(&block.images), len(&block.identities)) != (images as usize, identities as usize) {
            return wrong("the runs and the rows of a table differ in number");
        }
    }
    Ok(())
}

/// Positions must go forward, from `prev` to `end`.
fn check_positions(header: &Header, transactions: &[Transaction]) -> Result<(), DecodeError> {
    let mut at = header.prev;
    for transaction in transactions {
        let (start, end) = (transaction.start, transaction.end);
        if start < at || end <= start {
            return Err(DecodeError::Inconsistent(format!(
                "a transaction from {start} to {end} follows {at}"
            )));
        }
        at = end;
    }
    if header.end < at
        || !header.resume.position.is_boundary()
        || header.resume.position > header.end
    {
        return Err(DecodeError::Inconsistent(format!(
            "its changes end at {at}, its header at {} with resume {}",
            header.end, header.resume.position
        )));
    }
    Ok(())
}

fn add(a: u64, b: u64) -> Result<u64, DecodeError> {
    a.checked_add(b).ok_or_else(|| DecodeError::damaged("a position overflows"))
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn serde<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let mut decoder = rmp_serde::Deserializer::new(&self.body[self.at..]);
        decoder.set_max_depth(16);
        let value = T::deserialize(&mut decoder).map_err(DecodeError::damaged)?;
        self.at = self.body.len() - decoder.into_inner().len();
        Ok(value)
    }

    fn uint(&mut self) -> Result<u64, DecodeError> {
        match cell::read(self.body, &mut self.at)? {
            Cell::UInt(value) => Ok(value),
            Cell::Int(value) => u64::try_from(value).map_err(DecodeError::damaged),
            other => Err(DecodeError::damaged(format!("{other:?} is not a number"))),
        }
    }

    fn int(&mut self) -> Result<i64, DecodeError> {
        match cell::read(self.body, &mut self.at)? {
            Cell::Int(value) => Ok(value),
            other => Err(DecodeError::damaged(format!("{other:?} is not a number"))),
        }
    }

    /// A number of things that follow; each takes a byte at least, so it is bounded by what is left.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.uint()?;
        let left = self.body.len() - self.at;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= left)
            .ok_or_else(|| DecodeError::damaged(format!("{count} things in {left} bytes")))
    }

    fn columns(&mut self, columns: usize, rows: usize) -> Result<Vec<Vec<Cell>>, DecodeError> {
        (0..columns)
            .map(|_| (0..rows).map(|_| cell::read(self.body, &mut self.at)).collect())
            .collect()
    }
}
