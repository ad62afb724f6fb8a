//! Collects changes, column by column, until they are sealed into a message.

use crate::batch::{Header, Op, Resume, Run, Statement, Transaction};
use crate::cell::ColumnBuffer;
use crate::{Position, TableShape, codec, frame};
use std::sync::Arc;

/// A table of the batch under construction, as [`BatchBuilder::table`] hands it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableIndex(pub(crate) u32);

/// Where the row decoder writes one row: the columns of one table.
#[derive(Debug, Default)]
pub struct TableColumns {
    /// One buffer per column: new row images.
    pub images: Vec<ColumnBuffer>,
    /// One buffer per identity column: identities of rows that go. A deleted row's goes here.
    pub identities: Vec<ColumnBuffer>,
    /// One buffer per identity column: the identity of a changed row before the change. The builder
    /// compares it with the new image and keeps it only when it differs.
    pub before: Vec<ColumnBuffer>,
}

/// A sealed batch, ready to publish.
#[derive(Debug, Clone)]
pub struct Seal {
    /// The NATS message's payload.
    pub message: Vec<u8>,
    /// What the batch says of itself.
    pub header: Header,
    /// Row changes in it.
    pub rows: u64,
    /// Its size before compression, in bytes.
    pub body_bytes: usize,
}

/// What [`BatchBuilder::row`] did with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// The row is in the batch.
    Taken,
    /// The row is not in the batch, which is as it was before: with it, the body would pass the
    /// limit. Seal, then push the row to the next batch.
    Full,
    /// The row alone passes the limit; it needs this many bytes.
    TooLarge(usize),
}

#[derive(Debug)]
pub(crate) struct TableDraft {
    pub(crate) shape: Arc<TableShape>,
    pub(crate) identity: Vec<u16>,
    pub(crate) columns: TableColumns,
    bytes: usize,
}

/// Builds one batch after another for one device; each begins where the last ended.
#[derive(Debug)]
pub struct BatchBuilder {
    header: Header,
    body_bytes_max: usize,
    body_bytes: usize,
    transactions: Vec<Transaction>,
    open: bool,
    tables: Vec<TableDraft>,
    statements: Vec<Statement>,
    rows: u64,
    undo: Vec<(usize, u32)>,
}

/// What the envelope, a transaction and a run may take, generously.
const HEADER_BYTES: usize = 512;
const TRANSACTION_BYTES: usize = 64;
const RUN_BYTES: usize = 16;

// === impl BatchBuilder ===

impl BatchBuilder {
    /// A builder whose first batch begins at `prev`. `message_bytes_max` is the largest payload the
    /// server takes (its `max_payload`); no message will pass it.
    pub fn new(mut header: Header, prev: Position, message_bytes_max: usize) -> Self {
        header.prev = prev;
        header.end = prev;
        // Incompressible data grows a little, so leave that room.
        let overhead = frame::sealed_bytes_max(message_bytes_max).saturating_sub(message_bytes_max);
        Self {
            header,
            body_bytes_max: message_bytes_max.saturating_sub(overhead),
            body_bytes: HEADER_BYTES,
            transactions: Vec::new(),
            open: false,
            tables: Vec::new(),
            statements: Vec::new(),
            rows: 0,
            undo: Vec::new(),
        }
    }

    /// True while the batch neither holds a change nor moves the position.
    pub fn is_empty(&self) -> bool {
        self.header.end == self.header.prev
    }

    /// True when it holds changes, and does not only move the position.
    pub fn has_changes(&self) -> bool {
        !self.transactions.is_empty()
    }

    /// Size before compression so far, in bytes; an upper bound.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// The position up to which changes have been taken.
    pub fn end(&self) -> Position {
        self.header.end
    }

    /// Opens a transaction whose first event begins at `start`, or goes on with one at `start.part`.
    pub fn begin(&mut self, start: Position, commit_time_us: i64) {
        self.transactions.push(Transaction { start, end: start, commit_time_us, runs: Vec::new() });
        self.open = true;
        self.body_bytes += TRANSACTION_BYTES;
    }

    /// Finds the table in this batch, or adds it.
    pub fn table(&mut self, shape: &Arc<TableShape>) -> TableIndex {
        let known = self.tables.iter().rposition(|draft| {
            Arc::ptr_eq(&draft.shape, shape) || draft.shape.as_ref() == shape.as_ref()
        });
        let index = known.unwrap_or_else(|| {
            self.body_bytes += codec::shape_bytes(shape);
            self.tables.push(TableDraft::new(Arc::clone(shape)));
            self.tables.len() - 1
        });
        TableIndex(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Adds one row: `write` puts one cell into every column that `op` asks for ([`Op::Insert`]:
    /// images; [`Op::Update`]: before and images; [`Op::Delete`]: identities).
    ///
    /// # Errors
    /// Whatever `write` fails with; the batch is then as it was before.
    pub fn row<E>(
        &mut self,
        table: TableIndex,
        op: Op,
        write: impl FnOnce(&mut TableColumns) -> Result<(), E>,
    ) -> Result<Pushed, E> {
        let empty = !self.has_rows();
        let draft = &mut self.tables[table.0 as usize];
        draft.save(&mut self.undo);
        if let Err(error) = write(&mut draft.columns) {
            draft.restore(&self.undo);
            return Err(error);
        }
        let op = draft.settle(op, &self.undo);
        let bytes = draft.encoded_bytes() + RUN_BYTES;
        let grown = self.body_bytes + bytes - draft.bytes.min(bytes);
        if grown > self.body_bytes_max {
            draft.restore(&self.undo);
            return Ok(if empty { Pushed::TooLarge(grown) } else { Pushed::Full });
        }
        let (image, identity) = draft.last_indexes();
        draft.bytes = bytes - RUN_BYTES;
        self.body_bytes = grown - RUN_BYTES;
        self.rows += 1;
        self.add(Run::Rows { table: table.0, op, image, identity, count: 1 });
        Ok(Pushed::Taken)
    }

    /// Adds a statement.
    pub fn statement(&mut self, statement: &Statement) -> Pushed {
        let grown =
            self.body_bytes + statement.sql.len() + statement.database.len() + TRANSACTION_BYTES;
        if grown > self.body_bytes_max {
            return if self.has_rows() { Pushed::Full } else { Pushed::TooLarge(grown) };
        }
        self.body_bytes = grown;
        let index = u32::try_from(self.statements.len()).unwrap_or(u32::MAX);
        self.statements.push(statement.clone());
        self.add(Run::Statement(index));
        Pushed::Taken
    }

    /// Counts changes that a filter keeps on the device, so that positions do not depend on it.
    pub fn skip(&mut self, count: u32) {
        self.add(Run::Skipped(count));
    }

    /// Closes the open transaction: it ends at the boundary `end`.
    pub fn commit(&mut self, end: Position, gtid: Option<String>) {
        if let Some(transaction) = self.transactions.last_mut().filter(|_| self.open) {
            transaction.end = end;
        }
        self.open = false;
        self.mark(end, gtid);
    }

    /// Moves the end to the boundary `end` with nothing between.
    pub fn mark(&mut self, end: Position, gtid: Option<String>) {
        self.header.end = end;
        let gtid = gtid.or_else(|| self.header.resume.gtid.take());
        self.header.resume = Resume { position: end, gtid };
    }

    /// Makes the message, and begins the next batch at its end. A transaction that is still open goes
    /// on in the next one.
    ///
    /// # Errors
    /// Only when zstd cannot allocate.
    pub fn seal(&mut self) -> std::io::Result<Seal> {
        self.transactions.retain(|transaction| !transaction.runs.is_empty());
        self.header.commit_time_first_us =
            self.transactions.first().map_or(0, |t| t.commit_time_us);
        self.header.commit_time_last_us = self.transactions.last().map_or(0, |t| t.commit_time_us);
        let body = codec::encode(&self.header, &self.transactions, &self.tables, &self.statements);
        let message = frame::seal(&body)?;
        let seal =
            Seal { message, header: self.header.clone(), rows: self.rows, body_bytes: body.len() };

        let unfinished = self.transactions.pop().filter(|_| self.open);
        self.header.prev = self.header.end;
        self.body_bytes = HEADER_BYTES;
        self.rows = 0;
        self.transactions.clear();
        self.tables.clear();
        self.statements.clear();
        if let Some(transaction) = unfinished {
            self.begin(transaction.end, transaction.commit_time_us);
        }
        Ok(seal)
    }

    fn has_rows(&self) -> bool {
        self.rows > 0 || !self.statements.is_empty()
    }

    /// Appends one change to the open transaction, joined to the last run where it continues it.
    fn add(&mut self, change: Run) {
        let Some(transaction) = self.transactions.last_mut() else { return };
        transaction.end.part += change.changes();
        self.header.end = transaction.end;
        if transaction.runs.last_mut().is_none_or(|last| !last.join(change)) {
            self.body_bytes += RUN_BYTES;
            transaction.runs.push(change);
        }
    }
}

// === impl TableDraft ===

impl TableDraft {
    fn new(shape: Arc<TableShape>) -> Self {
        let identity = shape.identity();
        let buffers = |n: usize| vec![ColumnBuffer::default(); n];
        let columns = TableColumns {
            images: buffers(shape.columns.len()),
            identities: buffers(identity.len()),
            before: buffers(identity.len()),
        };
        Self { shape, identity, columns, bytes: 0 }
    }

    fn buffers(&mut self) -> impl Iterator<Item = &mut ColumnBuffer> {
        self.columns.images.iter_mut().chain(&mut self.columns.identities)
    }

    fn save(&mut self, undo: &mut Vec<(usize, u32)>) {
        undo.clear();
        undo.extend(self.buffers().map(|buffer| (buffer.encoded().len(), buffer.len())));
        self.columns.before.iter_mut().for_each(ColumnBuffer::clear);
    }

    fn restore(&mut self, undo: &[(usize, u32)]) {
        for (buffer, &(bytes, len)) in self.buffers().zip(undo) {
            buffer.truncate(bytes, len);
        }
    }

    fn encoded_bytes(&self) -> usize {
        let columns = self.columns.images.iter().chain(&self.columns.identities);
        columns.map(|buffer| buffer.encoded().len()).sum()
    }

    /// Tells an update that moves the row's identity from one that does not.
    fn settle(&mut self, op: Op, undo: &[(usize, u32)]) -> Op {
        if op != Op::Update {
            return op;
        }
        let moved = !self.shape.has_key()
            || self.identity.iter().zip(&self.columns.before).any(|(&column, before)| {
                let column = usize::from(column);
                self.columns.images[column].encoded()[undo[column].0..] != *before.encoded()
            });
        if !moved {
            return Op::Update;
        }
        for (identity, before) in self.columns.identities.iter_mut().zip(&self.columns.before) {
            identity.append(before);
        }
        Op::Rekey
    }

    /// Indexes of the image and the identity that were pushed last.
    fn last_indexes(&self) -> (u32, u32) {
        let last =
            |buffers: &[ColumnBuffer]| buffers.first().map_or(0, |b| b.len().saturating_sub(1));
        (last(&self.columns.images), last(&self.columns.identities))
    }
}
