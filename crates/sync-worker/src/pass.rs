//! What one transaction of a shard can do for one device: from its watermark and the batches that
//! wait, the rows to write, the place at which to stop, and the watermark afterwards. Pure.

use crate::chain::{self, Verdict};
use crate::mapping;
use crate::net::TableWork;
use crate::treatment::{Treatment, treatment};
use crate::watermark::{Parked, Watermark};
use tributary_schema::Ddl;
use tributary_wire::{Batch, Header, Position, Run, Statement};

/// See the module.
#[derive(Debug, Default)]
pub struct Pass<'a> {
    /// Row changes, table by table; a table whose shape changed on the way comes again.
    pub tables: Vec<TableWork<'a>>,
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

/// A DDL statement, and where it stands.
#[derive(Debug, Clone)]
pub struct Barrier<'a> {
    /// The log's position before it, which is the watermark when the pass is committed.
    pub before: Position,
    /// The position after it.
    pub after: Position,
    /// The statement.
    pub statement: &'a Statement,
    /// What it does.
    pub ddl: Ddl,
    /// What its batch says of itself.
    pub header: &'a Header,
}

/// Something is missing between the watermark and a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The run that has it.
    pub run: u64,
    /// The watermark when it was found; `None` for a device without one, or when it is not known.
    pub watermark: Option<Position>,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches of which something was applied.
    pub applied: u64,
    /// Row changes applied.
    pub rows: u64,
    /// Batches that were applied already.
    pub duplicates: u64,
    /// Batches beyond the watermark, or of a device that is parked.
    pub dropped: u64,
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
        if let Some(parked) = another_server(&state, &batch.header) {
            pass.park(&mut state, parked, &batch.header);
            continue;
        }
        match chain::judge(at, &batch.header, &batch.transactions) {
            Verdict::Duplicate => pass.tally.duplicates += 1,
            Verdict::Gap => pass.drop(batch, at),
            Verdict::Mismatch => {
                let parked = not_this_log(state.position, &batch.header);
                pass.park(&mut state, parked, &batch.header);
            }
            Verdict::Apply(cut) => {
                pass.apply(&mut state, batch, cut);
                at = Some(state.position);
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
    fn apply(&mut self, state: &mut Watermark, batch: &'a Batch, cut: chain::Cut) {
        self.tally.applied += 1;
        let mut places = vec![None; batch.tables.len()];
        for step in chain::steps(&batch.transactions, cut) {
            let Run::Statement(index) = step.run else {
                self.rows(&mut places, batch, step.run);
                continue;
            };
            let Some(statement) = batch.statements.get(index as usize) else { continue };
            if state.intent.as_ref().is_some_and(|intent| intent.skips(step.before)) {
                continue;
            }
            match treatment(statement, &batch.header.device) {
                Treatment::Nothing => {}
                Treatment::Keep => self.routines.push((step.before, statement)),
                Treatment::Park(parked) => {
                    self.stop_at(state, step.before, &batch.header);
                    self.park(state, parked, &batch.header);
                    return;
                }
                Treatment::Apply(ddl) => {
                    self.stop_at(state, step.before, &batch.header);
                    let (before, after, header) = (step.before, step.after, &batch.header);
                    self.barrier = Some(Barrier { before, after, statement, ddl, header });
                    return;
                }
            }
        }
        self.stop_at(state, batch.header.end, &batch.header);
    }

    fn rows(&mut self, places: &mut [Option<usize>], batch: &'a Batch, run: Run) {
        let Run::Rows { table, .. } = run else { return };
        let Some(block) = batch.tables.get(table as usize) else { return };
        if mapping::is_system(&block.shape.database) {
            return;
        }
        let place = *places[table as usize].get_or_insert_with(|| {
            let same_name = |work: &TableWork<'_>| {
                work.shape.table == block.shape.table && work.shape.database == block.shape.database
            };
            let newest = self.tables.iter().rposition(same_name);
            newest.filter(|&at| *self.tables[at].shape == block.shape).unwrap_or_else(|| {
                self.tables.push(TableWork::new(block));
                self.tables.len() - 1
            })
        });
        self.tables[place].add(batch, block, run);
        self.tally.rows += run.changes();
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

/// Longest identity of a server, and longest GTID, that the bookkeeping holds.
const IDENTITY_CHARS_MAX: usize = 255;

fn another_server(row: &Watermark, header: &Header) -> Option<Parked> {
    let too_long = |text: &str| text.chars().count() > IDENTITY_CHARS_MAX;
    if too_long(&header.source) || header.resume.gtid.as_deref().is_some_and(too_long) {
        return Some(Parked {
            reason: format!(
                "a server identity or GTID of more than {IDENTITY_CHARS_MAX} characters"
            ),
            remedy: "find out what publishes under this device's id".to_owned(),
        });
    }
    (!row.source.is_empty() && row.source != header.source).then(|| Parked {
        reason: format!(
            "another server behind this device id: the watermark belongs to {}, the batch comes from {}",
            row.source, header.source
        ),
        remedy: "if the device's server was replaced or restored, drop its databases and its watermark at the shard, so that it begins anew; if two devices share this id, give one of them its own, then release the device".to_owned(),
    })
}

fn not_this_log(watermark: Position, header: &Header) -> Parked {
    Parked {
        reason: format!(
            "the log does not match the watermark: {watermark} is between no two changes of the batch from {} to {}",
            header.prev, header.end
        ),
        remedy: "the device's binlog was reset or replaced under the same server identity: drop the device's databases and its watermark at the shard, so that it begins anew".to_owned(),
    }
}

#[cfg(test)]
#[path = "pass_tests.rs"]
mod tests;
