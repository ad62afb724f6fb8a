//! Reads the body of a message, which is hostile until it has been read to its end.

use crate::batch::{Batch, Header, Op, Run, Statement, TableBlock, Transaction};
use crate::encode::{RUN_ACTS, RUN_PIECE, RUN_SKIPPED, RUN_STATEMENT, origin};
use crate::reader::{Reader, add};
use crate::size::{COLUMN_CELLS, ITEM_CELLS, RUN, STATEMENT_CELLS, TABLE_CELLS, TRANSACTION};
use crate::snapshot::Item;
use crate::{Cell, DecodeError, Position, TableShape, frame};

/// What a reader will allocate for one message.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the body after decompression.
    pub body_bytes_max: u32,
    /// Cells in all tables together. A cell takes 16 bytes in memory, whatever it takes on the wire;
    /// transactions, runs, statements and columns count for as many cells as they take.
    pub cells_max: u64,
}

impl Default for Limits {
    /// 64 MiB of body and 4 Mi cells.
    fn default() -> Self {
        Self { body_bytes_max: 64 << 20, cells_max: 4 << 20 }
    }
}

impl Batch {
    /// Reads a message, allocating no more than `limits` allow.
    ///
    /// # Errors
    /// See [`DecodeError`]; the message will never decode.
    pub fn decode(message: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let body = frame::open(message, limits.body_bytes_max)?;
        let mut reader = Reader::new(&body, limits.cells_max);
        let header: Header = reader.serde()?;
        let mut transactions = read_transactions(&mut reader, &header)?;
        let statements = read_statements(&mut reader)?;
        let mut items = read_items(&mut reader)?;
        let tables = read_tables(&mut reader)?;
        let pieces = read_pieces(&mut reader)?;
        if reader.at != body.len() {
            return Err(DecodeError::Inconsistent(format!(
                "{} bytes follow the last piece",
                body.len() - reader.at
            )));
        }
        refer(&transactions, &items, statements.len(), pieces.len())?;
        assign_rows(&mut transactions, &mut items, &tables)?;
        check_positions(&header, &transactions)?;
        check_items(&header, &transactions, &items)?;
        Ok(Self { header, transactions, tables, statements, items, pieces, body })
    }
}

fn read_transactions(
    reader: &mut Reader,
    header: &Header,
) -> Result<Vec<Transaction>, DecodeError> {
    let count = reader.count(TRANSACTION.cells)?;
    let mut transactions = Vec::with_capacity(count);
    let (mut at, mut time_us) = (origin(header), header.commit_time_first_us);
    for _ in 0..count {
        let files = u32::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        if files > 0 {
            at.offset = 0;
        }
        let start = Position {
            epoch: header.end.epoch,
            file: add(u64::from(at.file), u64::from(files))?
                .try_into()
                .map_err(DecodeError::damaged)?,
            offset: add(at.offset, reader.uint()?)?,
            part: 0,
        };
        let start = start.inside(reader.uint()?);
        let length = reader.uint()?;
        time_us = time_us.wrapping_add(reader.int()?);
        let runs = read_runs(reader)?;
        let changes = runs.iter().map(Run::changes).sum();
        let end = match length {
            0 => start.advance(changes),
            _ => Position { offset: add(start.offset, length)?, part: 0, ..start },
        };
        transactions.push(Transaction { start, end, commit_time_us: time_us, runs });
        at = end;
    }
    Ok(transactions)
}

fn read_runs(reader: &mut Reader) -> Result<Vec<Run>, DecodeError> {
    let count = reader.count(RUN.cells)?;
    let mut runs = Vec::with_capacity(count);
    for _ in 0..count {
        let code = u8::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        let table = u32::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        let count = u32::try_from(reader.uint()?).map_err(DecodeError::damaged)?;
        runs.push(match code {
            RUN_STATEMENT => Run::Statement(table),
            RUN_SKIPPED => Run::Skipped(count),
            RUN_PIECE => Run::Piece(table),
            code => {
                let acts = code & RUN_ACTS != 0;
                let op = Op::from_code(code & !RUN_ACTS).filter(|op| !acts || *op != Op::Insert);
                let op = op.ok_or_else(|| {
                    DecodeError::Inconsistent(format!("run code {code} is unknown"))
                })?;
                Run::Rows { table, op, image: 0, identity: 0, count, acts }
            }
        });
    }
    Ok(runs)
}

fn read_statements(reader: &mut Reader) -> Result<Vec<Statement>, DecodeError> {
    let count = reader.array()?;
    reader.charge(count, STATEMENT_CELLS)?;
    (0..count).map(|_| reader.serde()).collect()
}

fn read_items(reader: &mut Reader) -> Result<Vec<Item>, DecodeError> {
    let count = reader.array()?;
    reader.charge(count, ITEM_CELLS)?;
    (0..count).map(|_| reader.serde()).collect()
}

fn read_pieces(reader: &mut Reader) -> Result<Vec<Cell>, DecodeError> {
    let count = reader.count(1)?;
    let pieces = reader.columns(1, count)?.pop().unwrap_or_default();
    if pieces.iter().any(|piece| !matches!(piece, Cell::Bytes { .. })) {
        return Err(DecodeError::Inconsistent("a piece is not bytes".to_owned()));
    }
    Ok(pieces)
}

fn read_tables(reader: &mut Reader) -> Result<Vec<TableBlock>, DecodeError> {
    let count = reader.count(TABLE_CELLS)?;
    (0..count).map(|_| read_table(reader)).collect()
}

fn read_table(reader: &mut Reader) -> Result<TableBlock, DecodeError> {
    let shape: TableShape = reader.serde()?;
    let (columns, keys) = (shape.columns.len(), shape.primary_key.len());
    let is_outside = |column: &u16| usize::from(*column) >= columns;
    if keys > columns || shape.primary_key.iter().any(is_outside) {
        return Err(DecodeError::Inconsistent(format!(
            "the key of {}.{} names a column it does not have, or one twice",
            shape.database, shape.table
        )));
    }
    reader.charge(columns, COLUMN_CELLS)?;
    let identity = shape.identity();
    let images = reader.count(columns as u64)?;
    let identities = reader.count(identity.len() as u64)?;
    let images = reader.columns(columns, images)?;
    let identities = reader.columns(identity.len(), identities)?;
    Ok(TableBlock { shape, identity, images, identities })
}

/// What runs and items refer to: statements or pieces. Each is referred to once, in order: otherwise a message
/// of a few bytes could have its reader do the same large thing many thousand times.
struct Referred {
    what: &'static str,
    len: usize,
    next: usize,
}

impl Referred {
    fn new(what: &'static str, len: usize) -> Self {
        Self { what, len, next: 0 }
    }

    fn take(&mut self, index: u32) -> Result<(), DecodeError> {
        if index as usize != self.next || self.next >= self.len {
            return Err(DecodeError::Inconsistent(format!(
                "{} {index} is named where {} of {} would be next",
                self.what, self.next, self.len
            )));
        }
        self.next += 1;
        Ok(())
    }

    fn finish(self) -> Result<(), DecodeError> {
        if self.next < self.len {
            return Err(DecodeError::Inconsistent(format!(
                "{} of {} {}s are named",
                self.next, self.len, self.what
            )));
        }
        Ok(())
    }
}

/// Checks that each statement and each piece is named once.
fn refer(
    transactions: &[Transaction],
    items: &[Item],
    statements: usize,
    pieces: usize,
) -> Result<(), DecodeError> {
    let mut statements = Referred::new("statement", statements);
    let mut pieces = Referred::new("piece", pieces);
    for item in items {
        match item {
            Item::Statement(index) | Item::Define { statement: index, .. } => {
                statements.take(*index)?;
            }
            Item::Piece(index) => pieces.take(*index)?,
            Item::Chunk(_) | Item::Databases(_) | Item::Tables { .. } => {}
        }
    }
    for run in transactions.iter().flat_map(|transaction| &transaction.runs) {
        match run {
            Run::Statement(index) => statements.take(*index)?,
            Run::Piece(index) => pieces.take(*index)?,
            Run::Rows { .. } | Run::Skipped(_) => {}
        }
    }
    statements.finish()?;
    pieces.finish()
}

/// Gives every run and every chunk the rows that are its own, and checks that each row has an owner.
fn assign_rows(
    transactions: &mut [Transaction],
    items: &mut [Item],
    tables: &[TableBlock],
) -> Result<(), DecodeError> {
    let wrong = |what: &str| Err(DecodeError::Inconsistent(what.to_owned()));
    let mut next = vec![(0u32, 0u32); tables.len()];
    for item in items {
        let Item::Chunk(chunk) = item else { continue };
        let Some((images, identities)) = next.get_mut(chunk.table as usize) else {
            return wrong("a chunk names a table the batch does not hold");
        };
        if chunk.identities() > 0 && !tables[chunk.table as usize].shape.has_key() {
            return wrong("a chunk of a table without a key has a bound");
        }
        (chunk.image, chunk.identity) = (*images, *identities);
        *images = images.saturating_add(chunk.rows);
        *identities = identities.saturating_add(chunk.identities());
    }
    for run in transactions.iter_mut().flat_map(|transaction| &mut transaction.runs) {
        let Run::Rows { table, op, image, identity, count, .. } = run else { continue };
        let Some((images, identities)) = next.get_mut(*table as usize) else {
            return wrong("a run names a table the batch does not hold");
        };
        (*image, *identity) = (*images, *identities);
        *images = images.saturating_add(if op.has_image() { *count } else { 0 });
        *identities = identities.saturating_add(if op.has_identity() { *count } else { 0 });
    }
    let len = |columns: &[Vec<Cell>]| columns.first().map_or(0, Vec::len);
    for (block, (images, identities)) in tables.iter().zip(next) {
        if (len(&block.images), len(&block.identities)) != (images as usize, identities as usize) {
            return wrong("the runs and the rows of a table differ in number");
        }
    }
    Ok(())
}

/// Positions must go forward, from `prev` to `end`, and only a batch's ends may cut a transaction.
fn check_positions(header: &Header, transactions: &[Transaction]) -> Result<(), DecodeError> {
    let mut at = header.prev;
    for transaction in transactions {
        let (start, end) = (transaction.start, transaction.end);
        let continues = !start.is_boundary();
        // A snapshot's items stand between the boundary and the transaction that begins there.
        let floor = if at.is_boundary() { at.floor() } else { at };
        let follows = if continues { start == header.prev } else { start >= floor };
        if !follows || end <= start || (!end.is_boundary() && end != header.end) {
            return Err(DecodeError::Inconsistent(format!(
                "a transaction from {start} to {end} follows {at}"
            )));
        }
        at = end;
    }
    if header.end < at || header.resume.position.part != 0 || header.resume.position > header.end {
        return Err(DecodeError::Inconsistent(format!(
            "its changes end at {at}, its header at {} with resume {}",
            header.end, header.resume.position
        )));
    }
    Ok(())
}

/// Items stand at the boundary where their batch ends, in a batch without transactions.
fn check_items(
    header: &Header,
    transactions: &[Transaction],
    items: &[Item],
) -> Result<(), DecodeError> {
    if items.is_empty() {
        return Ok(());
    }
    let (prev, end) = (header.prev, header.end);
    let before = if prev.floor() == end.floor() { prev.items() } else { 0 };
    let counted = end.items().checked_sub(before) == Some(items.len() as u64);
    if !transactions.is_empty() || !end.is_boundary() || !counted {
        return Err(DecodeError::Inconsistent(format!(
            "{} items of a snapshot, and {} transactions, between {prev} and {end}",
            items.len(),
            transactions.len()
        )));
    }
    Ok(())
}
