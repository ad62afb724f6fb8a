//! The rows of a log as our decoder reads them.

use crate::events;
use anyhow::{Context, Result, bail};
use rmpv::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tributary_binlog::{Body, Event, Rows, Server, Step, TablePlan};
use tributary_testkit::Flavour;
use tributary_wire::{ColumnBuffer, Op, TableColumns, TableShape};

/// One row image; a cell that is not carried is `None`.
pub(crate) struct Row {
    pub(crate) table: Arc<TableShape>,
    pub(crate) cells: Vec<Option<Value>>,
}

/// The images of every row: of an update the one before, then the one after.
pub(crate) fn read(log: &[u8], flavour: Flavour) -> Result<Vec<Row>> {
    let mut plans = HashMap::new();
    let mut images = Vec::new();
    for (code, flags, data) in events::bodies(log)? {
        match (Event { code, flags, data }).parse()? {
            Body::TableMap => {
                let plan = compile(data, flavour)?;
                plans.insert(plan.table_id, plan);
            }
            Body::Rows => {
                let mut rows = Rows::parse(code, data)?;
                let plan = plans.get(&rows.table_id).context("rows without a table map")?;
                while !rows.is_done() {
                    row(&mut rows, plan, &mut images)?;
                }
            }
            _ => {}
        }
    }
    Ok(images)
}

fn compile(data: &[u8], flavour: Flavour) -> Result<TablePlan> {
    let server = match flavour {
        Flavour::MySql => Server::MySql,
        Flavour::MariaDb => Server::MariaDb,
    };
    Ok(TablePlan::compile(data, server)?)
}

fn row(rows: &mut Rows<'_>, plan: &TablePlan, images: &mut Vec<Row>) -> Result<()> {
    let mut columns = TableColumns::of(&plan.shape);
    let (op, here) = (rows.op, rows.clone());
    if rows.write_next(plan, &mut columns)? {
        return push(op, plan, &columns, &mut VecDeque::new(), images);
    }
    // Large values go ahead of their row in pieces.
    let mut stream = here.stream();
    let mut pieces = VecDeque::new();
    loop {
        match stream.next(plan, 0)? {
            Step::Piece(piece) => pieces.push_back(piece.to_vec()),
            Step::Row(row) => return push(op, plan, row, &mut pieces, images),
            Step::Withheld => bail!("nothing is left out"),
            Step::Done => bail!("a row ends early"),
        }
    }
}

/// `ahead` are the pieces that went ahead of the row, in the order of the event.
fn push(
    op: Op,
    plan: &TablePlan,
    columns: &TableColumns,
    ahead: &mut VecDeque<Vec<u8>>,
    images: &mut Vec<Row>,
) -> Result<()> {
    let (table, identity) = (&plan.shape, plan.shape.identity());
    let old = if op == Op::Update { &columns.before } else { &columns.identities };
    if op != Op::Insert {
        let mut cells = vec![None; table.columns.len()];
        // The order of the event, not the key's.
        let mut carried: Vec<_> = identity.iter().zip(old).collect();
        carried.sort_by_key(|(column, _)| **column);
        for (&column, buffer) in carried {
            cells[usize::from(column)] = Some(value(buffer, ahead)?);
        }
        images.push(Row { table: Arc::clone(table), cells });
    }
    if op != Op::Delete {
        let cells = columns.images.iter().map(|buffer| value(buffer, ahead).map(Some));
        images.push(Row { table: Arc::clone(table), cells: cells.collect::<Result<_>>()? });
    }
    Ok(())
}

fn value(buffer: &ColumnBuffer, ahead: &mut VecDeque<Vec<u8>>) -> Result<Value> {
    let mut encoded = buffer.encoded();
    let value = rmpv::decode::read_value(&mut encoded)?;
    if !encoded.is_empty() {
        bail!("more than one cell");
    }
    // A position, and the number of pieces.
    let Value::Ext(_, staged) = &value else { return Ok(value) };
    let count = staged.last_chunk().map_or(0, |count| u32::from_be_bytes(*count));
    let pieces = ahead.drain(..(count as usize).min(ahead.len()));
    Ok(Value::Binary(pieces.flatten().collect()))
}
