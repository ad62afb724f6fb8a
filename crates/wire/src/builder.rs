//! Collects changes, column by column, until they are sealed into a message.

use crate::batch::{Header, Op, Resume, Run, Statement, Transaction};
use crate::draft::{TableColumns, TableDraft};
use crate::encode::{self, Contents};
use crate::size::{self, RUN, Size, TRANSACTION};
use crate::snapshot::{Chunk, Item, SnapshotCursor};
use crate::{Limits, Position, TableShape, frame};
use std::sync::Arc;

/// A table of the batch under construction, as [`BatchBuilder::table`] hands it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableIndex(pub(crate) u32);

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

/// Builds one batch after another for one device; each begins where the last ended.
#[derive(Debug)]
pub struct BatchBuilder {
    header: Header,
    /// What a batch takes that holds nothing.
    envelope: Size,
    /// What the batch takes: an upper bound.
    size: Size,
    body_bytes_max: usize,
    contents: Contents,
    open: bool,
    /// See [`BatchBuilder::set_acting`].
    acting: bool,
    rows: u64,
    undo: Vec<(usize, u32)>,
}

// === impl BatchBuilder ===

impl BatchBuilder {
    /// A builder whose first batch begins at `prev`. `message_bytes_max` is the largest payload the
    /// server takes (its `max_payload`); no message will pass it.
    pub fn new(mut header: Header, prev: Position, message_bytes_max: usize) -> Self {
        header.prev = prev;
        header.end = prev;
        let body_bytes_max = frame::body_bytes_max(message_bytes_max);
        let envelope = size::envelope(&header);
        Self {
            header,
            envelope,
            size: envelope,
            // A transaction may begin, and changes be skipped, without asking for room.
            body_bytes_max: body_bytes_max.saturating_sub((TRANSACTION + RUN).bytes),
            contents: Contents::default(),
            open: false,
            acting: false,
            rows: 0,
            undo: Vec::new(),
        }
    }

    /// True while the batch neither holds a change nor moves the position.
    pub fn is_empty(&self) -> bool {
        self.header.end == self.header.prev
    }

    /// True when it holds changes or items, and does not only move the position.
    pub fn has_changes(&self) -> bool {
        self.has_items()
            || self.contents.transactions.iter().any(|transaction| !transaction.runs.is_empty())
    }

    /// True when it holds steps of a snapshot: it must be sealed before a transaction begins.
    pub fn has_items(&self) -> bool {
        !self.contents.items.is_empty()
    }

    /// Size before compression so far, in bytes; an upper bound.
    pub fn body_bytes(&self) -> usize {
        self.size.bytes
    }

    /// The position up to which changes have been taken.
    pub fn end(&self) -> Position {
        self.header.end
    }

    /// Opens a transaction whose first event begins at `start`, or goes on with one at `start.part`.
    pub fn begin(&mut self, start: Position, commit_time_us: i64) {
        debug_assert!(!self.has_items(), "items and transactions do not share a batch");
        let runs = Vec::new();
        self.contents.transactions.push(Transaction { start, end: start, commit_time_us, runs });
        self.open = true;
        self.size += TRANSACTION;
    }

    /// Finds the table in this batch, or adds it. It takes room once it has a row.
    pub fn table(&mut self, shape: &Arc<TableShape>) -> TableIndex {
        let tables = &mut self.contents.tables;
        let known = tables.iter().rposition(|draft| {
            Arc::ptr_eq(&draft.shape, shape) || draft.shape.as_ref() == shape.as_ref()
        });
        let index = known.unwrap_or_else(|| {
            tables.push(TableDraft::new(Arc::clone(shape)));
            tables.len() - 1
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
        let draft = &mut self.contents.tables[table.0 as usize];
        draft.save(&mut self.undo);
        if let Err(error) = write(&mut draft.columns) {
            draft.restore(&self.undo);
            return Err(error);
        }
        let op = draft.settle(op, &self.undo);
        let row = draft.last_row(op);
        let with_table = row + draft.table_unless_counted();
        if !self.has_room(with_table + RUN) {
            let draft = &mut self.contents.tables[table.0 as usize];
            draft.restore(&self.undo);
            let change = row + draft.table() + RUN;
            return Ok(self.refuse(change));
        }
        let (image, identity) = self.contents.tables[table.0 as usize].keep(row);
        self.size += with_table;
        self.rows += 1;
        let acts = self.acting && op != Op::Insert;
        self.add(Run::Rows { table: table.0, op, image, identity, count: 1, acts });
        Ok(Pushed::Taken)
    }

    /// Says whether foreign keys act, below the log, on the rows that follow.
    pub fn set_acting(&mut self, acting: bool) {
        self.acting = acting;
    }

    /// Adds a statement.
    pub fn statement(&mut self, statement: &Statement) -> Pushed {
        let size = size::statement(statement);
        if !self.has_room(size + RUN) {
            return self.refuse(size + RUN);
        }
        self.size += size;
        let index = self.push_statement(statement);
        self.add(Run::Statement(index));
        Pushed::Taken
    }

    /// Adds a piece of a value that is too large for a message, as one change of the open transaction.
    pub fn piece(&mut self, bytes: &[u8]) -> Pushed {
        let size = size::piece(bytes);
        if !self.has_room(size + RUN) {
            return self.refuse(size + RUN);
        }
        self.size += size;
        let index = self.push_piece(bytes);
        self.add(Run::Piece(index));
        Pushed::Taken
    }

    /// Adds a step of a snapshot that refers to at most one statement: [`Item::Statement`] and
    /// [`Item::Define`], whose index is set here, [`Item::Databases`] and [`Item::Tables`].
    pub fn item(&mut self, mut item: Item, statement: Option<&Statement>) -> Pushed {
        let size = size::item(&item) + statement.map_or(Size::default(), size::statement);
        if !self.has_room(size) {
            return self.refuse(size);
        }
        if let (Item::Statement(index) | Item::Define { statement: index, .. }, Some(statement)) =
            (&mut item, statement)
        {
            *index = self.push_statement(statement);
        }
        self.place(item, size)
    }

    /// Adds a piece of a value that is too large for a message, as one step of a snapshot.
    pub fn item_piece(&mut self, bytes: &[u8]) -> Pushed {
        let size = size::item(&Item::Piece(0)) + size::piece(bytes);
        if !self.has_room(size) {
            return self.refuse(size);
        }
        let item = Item::Piece(self.push_piece(bytes));
        self.place(item, size)
    }

    /// Adds a chunk: `rows` images, and the identities that `chunk` counts, are in `columns`. Its place
    /// in the batch is set here.
    pub fn chunk(
        &mut self,
        shape: &Arc<TableShape>,
        columns: TableColumns,
        mut chunk: Chunk,
    ) -> Pushed {
        let draft = TableDraft::filled(Arc::clone(shape), columns);
        let size = size::item(&Item::Chunk(chunk)) + draft.table() + draft.rows() + size::CURSOR;
        if !self.has_room(size) {
            return self.refuse(size);
        }
        chunk.table = u32::try_from(self.contents.tables.len()).unwrap_or(u32::MAX);
        self.rows += u64::from(chunk.rows);
        self.contents.tables.push(draft);
        self.place(Item::Chunk(chunk), size)
    }

    /// Says how far the snapshot has come at the end of the batch.
    pub fn set_snapshot(&mut self, cursor: Option<SnapshotCursor>) {
        self.header.resume.snapshot = cursor;
    }

    fn place(&mut self, item: Item, size: Size) -> Pushed {
        debug_assert!(self.contents.transactions.is_empty(), "items stand in batches of their own");
        self.size += size;
        self.contents.items.push(item);
        self.header.end = self.header.end.after_items(self.header.end.items() + 1);
        Pushed::Taken
    }

    fn push_statement(&mut self, statement: &Statement) -> u32 {
        let index = u32::try_from(self.contents.statements.len()).unwrap_or(u32::MAX);
        self.contents.statements.push(statement.clone());
        index
    }

    fn push_piece(&mut self, bytes: &[u8]) -> u32 {
        let index = self.contents.pieces.len();
        self.contents.pieces.push_bytes(bytes);
        index
    }

    /// Counts changes that a filter keeps on the device, so that positions do not depend on it.
    pub fn skip(&mut self, count: u32) {
        self.add(Run::Skipped(count));
    }

    /// Closes the open transaction: it ends at the boundary `end`, in the same file. One that holds
    /// nothing, or nothing that was not skipped, leaves only a mark.
    pub fn commit(&mut self, end: Position, gtid: Option<String>) {
        if let Some(transaction) = self.contents.transactions.last_mut().filter(|_| self.open) {
            transaction.end = end;
            if transaction.runs.iter().all(|run| matches!(run, Run::Skipped(_))) {
                transaction.runs.iter().for_each(|_| self.size -= RUN);
                self.size -= TRANSACTION;
                self.contents.transactions.pop();
            }
        }
        self.open = false;
        self.mark(end, gtid);
    }

    /// Moves the end to the boundary `end` with nothing between.
    pub fn mark(&mut self, end: Position, gtid: Option<String>) {
        self.header.end = end;
        let Resume { position, gtid: before, .. } = &mut self.header.resume;
        *position = end.floor();
        *before = gtid.or_else(|| before.take());
    }

    /// Says where a reader of the log has to restart, until the next boundary: before the newest one
    /// when what lies between is needed again.
    pub fn resume_at(&mut self, resume: Resume) {
        self.header.resume = resume;
    }

    /// Makes the message, and begins the next batch at its end. A transaction that is still open goes
    /// on in the next one.
    ///
    /// # Errors
    /// Only when zstd cannot allocate.
    pub fn seal(&mut self) -> std::io::Result<Seal> {
        let unfinished = self.contents.transactions.last().filter(|_| self.open);
        let unfinished =
            unfinished.map(|transaction| (transaction.end, transaction.commit_time_us));
        self.contents.transactions.retain(|transaction| !transaction.runs.is_empty());
        self.leave_out_empty_tables();
        let transactions = &self.contents.transactions;
        self.header.commit_time_first_us = transactions.first().map_or(0, |t| t.commit_time_us);
        self.header.commit_time_last_us = transactions.last().map_or(0, |t| t.commit_time_us);
        let body = encode::body(&self.header, &self.contents);
        let message = frame::seal(&body)?;
        let seal =
            Seal { message, header: self.header.clone(), rows: self.rows, body_bytes: body.len() };

        self.header.prev = self.header.end;
        self.envelope = size::envelope(&self.header);
        self.size = self.envelope;
        self.rows = 0;
        self.contents = Contents::default();
        if let Some((at, commit_time_us)) = unfinished {
            self.begin(at, commit_time_us);
        }
        Ok(seal)
    }

    fn has_room(&self, size: Size) -> bool {
        let with = self.size + size;
        with.bytes <= self.body_bytes_max && with.cells <= Limits::default().cells_max
    }

    /// What to say of a change that does not fit: whether it would in an empty batch.
    fn refuse(&self, change: Size) -> Pushed {
        let alone = (self.envelope + TRANSACTION + change).bytes;
        if alone > self.body_bytes_max { Pushed::TooLarge(alone) } else { Pushed::Full }
    }

    /// A table is left without a row when its first did not fit.
    fn leave_out_empty_tables(&mut self) {
        if self.has_items() {
            return;
        }
        let mut kept = 0;
        let Contents { tables, transactions, .. } = &mut self.contents;
        let indexes: Vec<u32> = tables
            .iter()
            .map(|draft| {
                let index = kept;
                kept += u32::from(!draft.is_empty());
                index
            })
            .collect();
        for run in transactions.iter_mut().flat_map(|transaction| &mut transaction.runs) {
            if let Run::Rows { table, .. } = run {
                *table = indexes[*table as usize];
            }
        }
        tables.retain(|draft| !draft.is_empty());
    }

    /// Appends one change to the open transaction, joined to the last run where it continues it.
    fn add(&mut self, change: Run) {
        let Some(transaction) = self.contents.transactions.last_mut() else { return };
        transaction.end = transaction.end.advance(change.changes());
        self.header.end = transaction.end;
        if transaction.runs.last_mut().is_none_or(|last| !last.join(change)) {
            self.size += RUN;
            transaction.runs.push(change);
        }
    }
}
