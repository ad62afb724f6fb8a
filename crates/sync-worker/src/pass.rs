//! What one transaction of a shard can do for one device: from its watermark and the batches that
//! wait, the rows to write, the place at which to stop, and the watermark afterwards. Pure.

use crate::admission;
pub use crate::barrier::{Barrier, Gap, Order, Tally, Task};
use crate::chain::{self, Verdict};
use crate::mapping;
use crate::net::{TableWork, last_piece};
use crate::treatment::{self, Treatment, treatment};
use crate::watermark::{Parked, Watermark};
use std::ops::ControlFlow;
use tributary_wire::{
    Batch, Cell, Chunk, Header, Item, Position, Run, SnapshotCursor, Statement, TableBlock,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Pass<'a> {
    /// Row changes and chunks, table by table; a table whose shape changed on the way, or that a chunk
    /// replaces rows of, comes again.
    pub tables: Vec<TableWork<'a>>,
    /// Tables before this place take no more changes: others follow them.
    pub(crate) closed: usize,
    /// Pieces of large values, with the position behind each.
    pub pieces: Vec<(Position, &'a [u8])>,
    /// Behind the last piece whose row is among the changes: it and those before have served.
    pub pieces_used: Option<Position>,
    /// Definitions to keep for a restore, with their positions.
    pub routines: Vec<(Position, &'a Statement)>,
    /// The device's row afterwards; `None` when it stays as it is.
    pub watermark: Option<Watermark>,
    /// The row does not exist yet.
    pub is_new: bool,
    /// A DDL statement that has to run before anything else of this device.
    pub barrier: Option<Barrier<'a>>,
    /// A batch lies beyond the watermark.
    pub gap: Option<Gap>,
    /// What was done with the batches.
    pub tally: Tally,
}

/// Where the log stands around a step.
#[derive(Debug, Clone, Copy)]
struct Span {
    before: Position,
    after: Position,
}

/// Goes through the batches of a device, in the order in which they arrived, up to the first DDL
/// statement. `row` is the device's locked row, `None` when it has none.
pub fn pass<'a>(row: Option<&Watermark>, batches: &[&'a Batch]) -> Pass<'a> {
    let mut pass = Pass { is_new: row.is_none(), ..Pass::default() };
    let mut state = row.cloned().unwrap_or_else(Watermark::unseen);
    let mut at = row.map(|row| row.position);
    for batch in batches {
        if state.parked.is_some() {
            pass.drop(batch, at);
            continue;
        }
        let foreign = at.is_some() && admission::is_foreign(&state, batch);
        match chain::judge(at, &batch.header, &batch.transactions, batch.items.len()) {
            Verdict::Duplicate => {
                pass.tally.duplicates += 1;
                if foreign {
                    pass.refuse(&mut state, &batch.header);
                }
            }
            Verdict::Gap => {
                pass.drop(batch, at);
                if foreign {
                    pass.refuse(&mut state, &batch.header);
                }
            }
            Verdict::Mismatch => {
                let parked = admission::not_this_log(state.position, &batch.header);
                pass.park(&mut state, parked, &batch.header);
            }
            Verdict::Apply(cut) => {
                if let Some(parked) = admission::oversized(&batch.header)
                    .or_else(|| admission::another_server(&state, &batch.header))
                {
                    pass.park(&mut state, parked, &batch.header);
                } else if at.is_some_and(|at| admission::leaps(at, &batch.header)) {
                    pass.drop(batch, at);
                } else if foreign && !admission::takes_over(&state, batch) {
                    pass.drop(batch, at);
                    pass.refuse(&mut state, &batch.header);
                } else {
                    pass.apply(&mut state, batch, cut);
                    at = Some(state.position);
                }
                if pass.barrier.is_some() {
                    return pass;
                }
            }
        }
    }
    pass
}

// === impl Pass ===

impl<'a> Pass<'a> {
    /// True when no other lot of changes is of the same table, and none acts on others: rows can be counted before
    /// the pass is written.
    pub(crate) fn has_only(&self, work: &TableWork<'_>) -> bool {
        if self.closed > 0 {
            return false;
        }
        let name = |of: &TableWork<'_>| {
            (&of.shape.table, &of.shape.database) == (&work.shape.table, &work.shape.database)
        };
        self.tables.iter().filter(|other| name(other)).count() == 1
    }

    fn apply(&mut self, state: &mut Watermark, batch: &'a Batch, cut: chain::Cut) {
        self.tally.applied += 1;
        let mut places = vec![None; batch.tables.len()];
        if batch.items.is_empty() {
            for chain::Step { before, after, run } in chain::steps(&batch.transactions, cut) {
                let span = Span { before, after };
                match run {
                    Run::Rows { .. } => self.rows(&mut places, state, batch, span, run),
                    Run::Skipped(_) => {}
                    Run::Piece(index) => self.piece(after, batch, index),
                    Run::Statement(index) => {
                        // Not by the position behind it: an item may have taken that name.
                        if self.statement(state, batch, span, before, index).is_break() {
                            return;
                        }
                    }
                }
            }
        } else {
            let items = batch.items.len();
            for chain::ItemStep { before, after, index } in
                chain::item_steps(&batch.header, items, cut)
            {
                if self.item(state, batch, Span { before, after }, index).is_break() {
                    return;
                }
            }
        }
        self.stop_at(state, batch.header.end, &batch.header);
    }

    fn item(
        &mut self,
        state: &mut Watermark,
        batch: &'a Batch,
        span: Span,
        index: usize,
    ) -> ControlFlow<()> {
        let task = match &batch.items[index] {
            Item::Statement(index) => {
                return self.statement(state, batch, span, span.after, *index);
            }
            Item::Chunk(chunk) => {
                self.chunk(state, batch, span, *chunk);
                return ControlFlow::Continue(());
            }
            Item::Piece(index) => {
                self.piece(span.after, batch, *index);
                return ControlFlow::Continue(());
            }
            Item::Databases(names) => Task::Databases(names),
            Item::Tables { database, .. } | Item::Define { database, .. }
                if mapping::is_system(database) =>
            {
                return ControlFlow::Continue(());
            }
            Item::Tables { database, names } => Task::Tables { database, names },
            Item::Define { statement, database, table } => {
                let Some(statement) = batch.statements.get(*statement as usize) else {
                    return ControlFlow::Continue(());
                };
                match treatment::definition(statement, &batch.header.device, database, table) {
                    Ok(ddl) => Task::Define { order: Order { statement, ddl }, database, table },
                    Err(parked) => return self.halt(state, batch, span, parked),
                }
            }
        };
        self.barrier(state, batch, span, task)
    }

    /// `named` is the position under which a definition of code is kept.
    fn statement(
        &mut self,
        state: &mut Watermark,
        batch: &'a Batch,
        span: Span,
        named: Position,
        index: u32,
    ) -> ControlFlow<()> {
        let Some(statement) = batch.statements.get(index as usize) else {
            return ControlFlow::Continue(());
        };
        match treatment(statement, &batch.header.device) {
            Treatment::Nothing => ControlFlow::Continue(()),
            Treatment::Keep => {
                self.routines.push((named, statement));
                ControlFlow::Continue(())
            }
            Treatment::Park(parked) => self.halt(state, batch, span, parked),
            Treatment::Apply(ddl) => {
                self.barrier(state, batch, span, Task::Run(Order { statement, ddl }))
            }
        }
    }

    /// Stops before a task that has to run before anything else of this device.
    fn barrier(
        &mut self,
        state: &mut Watermark,
        batch: &'a Batch,
        span: Span,
        task: Task<'a>,
    ) -> ControlFlow<()> {
        let before = span.before.max(state.position);
        if is_done_by_hand(state, before) {
            return ControlFlow::Continue(());
        }
        self.stop_at(state, before, &batch.header);
        self.barrier = Some(Barrier { before, after: span.after, task, header: &batch.header });
        ControlFlow::Break(())
    }

    /// Stops for good before something that cannot be done.
    fn halt(
        &mut self,
        state: &mut Watermark,
        batch: &'a Batch,
        span: Span,
        parked: Parked,
    ) -> ControlFlow<()> {
        // Behind the items of a snapshot a transaction begins at the boundary before them.
        let before = span.before.max(state.position);
        if is_done_by_hand(state, before) {
            return ControlFlow::Continue(());
        }
        self.stop_at(state, before, &batch.header);
        self.park(state, parked, &batch.header);
        ControlFlow::Break(())
    }

    fn piece(&mut self, after: Position, batch: &'a Batch, index: u32) {
        if let Some(cell) = batch.pieces.get(index as usize) {
            self.pieces.push((after, batch.bytes(*cell)));
        }
    }

    fn chunk(&mut self, state: &Watermark, batch: &'a Batch, span: Span, chunk: Chunk) {
        let Some(block) = batch.tables.get(chunk.table as usize) else { return };
        if mapping::is_system(&block.shape.database) {
            return;
        }
        self.note_pieces(&block.images, span, chunk.image, chunk.rows);
        let mut work = TableWork::of_chunk(batch, block, chunk);
        work.displaces |= is_copied(state, batch, block);
        self.tables.push(work);
        self.tally.snapshot_rows += u64::from(chunk.rows);
        self.tally.snapshot_chunks += 1;
    }

    fn note_pieces(&mut self, columns: &[Vec<Cell>], span: Span, first: u32, count: u32) {
        let last = last_piece(columns, first, count);
        let used = last.map(|part| Position { part, ..span.before });
        self.pieces_used = self.pieces_used.max(used);
    }

    fn rows(
        &mut self,
        places: &mut [Option<usize>],
        state: &Watermark,
        batch: &'a Batch,
        span: Span,
        run: Run,
    ) {
        let Run::Rows { table, .. } = run else { return };
        let Some(block) = batch.tables.get(table as usize) else { return };
        if let Run::Rows { op, image, identity, count, .. } = run {
            self.note_pieces(&block.images, span, image, if op.has_image() { count } else { 0 });
            let identities = if op.has_identity() { count } else { 0 };
            self.note_pieces(&block.identities, span, identity, identities);
        }
        if mapping::is_system(&block.shape.database) {
            return;
        }
        if let Run::Rows { op, acts: true, .. } = run
            && state.cascades.follow(block, op)
        {
            return self.acting(state, batch, block, run);
        }
        let closed = self.closed;
        let known = places[table as usize].filter(|place| *place >= closed);
        let place = known.unwrap_or_else(|| {
            let newest = self.tables.iter().rposition(|work| work.is_of(block));
            let same = |at: &usize| {
                *at >= closed
                    && *self.tables[*at].shape == block.shape
                    && !self.tables[*at].is_chunk()
            };
            newest.filter(same).unwrap_or_else(|| {
                self.tables.push(TableWork::new(block));
                self.tables.len() - 1
            })
        });
        places[table as usize] = Some(place);
        self.tables[place].displaces |= is_copied(state, batch, block);
        self.tables[place].add(batch, block, run);
        self.tally.rows += run.changes();
    }

    /// Changes that rows of other tables follow: what came before them has to be there by then, and what comes
    /// after them not yet.
    fn acting(&mut self, state: &Watermark, batch: &'a Batch, block: &'a TableBlock, run: Run) {
        let last = self.tables.last();
        let goes_on = last.is_some_and(|work| work.is_acting() && *work.shape == block.shape);
        if !goes_on {
            self.tables.push(TableWork::acting(block));
        }
        self.closed = self.tables.len();
        if let Some(work) = self.tables.last_mut() {
            work.displaces |= is_copied(state, batch, block);
            work.unproved = state.cascades.unproved().map(str::to_owned);
            work.add(batch, block, run);
        }
        self.tally.rows += run.changes();
    }

    /// Refuses a run for as long as a snapshot is under way.
    fn refuse(&mut self, state: &mut Watermark, header: &Header) {
        if state.refuse(header.run) {
            self.watermark = Some(state.clone());
        }
    }

    /// Moves the watermark to a place in, or the end of, a batch.
    fn stop_at(&mut self, state: &mut Watermark, position: Position, header: &Header) {
        state.advance(position, header);
        self.watermark = Some(state.clone());
    }

    fn park(&mut self, state: &mut Watermark, parked: Parked, header: &Header) {
        state.parked = Some(parked);
        self.watermark = Some(state.clone());
        self.gap = Some(Gap { run: header.run, watermark: Some(state.position) });
    }

    fn drop(&mut self, batch: &Batch, at: Option<Position>) {
        self.tally.dropped += 1;
        self.gap = Some(Gap { run: batch.header.run, watermark: at });
    }
}

/// True where an operator has said that what stands here was done by hand. Tables may be others then than a lane
/// remembers.
fn is_done_by_hand(state: &mut Watermark, before: Position) -> bool {
    let is = state.intent.as_ref().is_some_and(|intent| intent.skips(before));
    state.shape_generation += u64::from(is);
    is
}

/// True while a table's rows are being copied: rows of it that are not copied yet may be old.
fn is_copied(state: &Watermark, batch: &Batch, block: &TableBlock) -> bool {
    let is_here = |cursor: &SnapshotCursor| {
        cursor.database == block.shape.database
            && cursor.table == block.shape.table
            && !cursor.complete
    };
    let cursors = [&state.resume.snapshot, &batch.header.resume.snapshot];
    cursors.into_iter().flatten().any(is_here)
}

#[cfg(test)]
#[path = "pass_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "pass_snapshot_tests.rs"]
mod snapshot_tests;
