//! The rows of a log as our decoder reads them.

use crate::events;
use anyhow::{Context, Result, bail};
use rmpv::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tributary_binlog::{Body, Event, Rows, TablePlan};
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

fn compile(data: &[u8], _flavour: Flavour) -> Result<TablePlan> {
    Ok(TablePlan::compile(data)?)
}

fn row(rows: &mut Rows<'_>, plan: &TablePlan, images: &mut Vec<Row>) -> Result<()> {
    let (table, identity) = (&plan.shape, plan.shape.identity());
    let buffers = |count: usize| vec![ColumnBuffer::default(); count];
    let mut columns = TableColumns {
        images: buffers(table.columns.len()),
        identities: buffers(identity.len()),
        before: buffers(identity.len()),
    };
    rows.write_next(plan, &mut columns)?;
    let old = if rows.op == Op::Update { &columns.before } else { &columns.identities };
    if rows.op != Op::Insert {
        let mut cells = vec![None; table.columns.len()];
        for (&column, buffer) in identity.iter().zip(old) {
            cells[usize::from(column)] = Some(value(buffer)?);
        }
        images.push(Row { table: Arc::clone(table), cells });
    }
    if rows.op != Op::Delete {
        let cells = columns.images.iter().map(|buffer| value(buffer).map(Some));
        images.push(Row { table: Arc::clone(table), cells: cells.collect::<Result<_>>()? });
    }
    Ok(())
}

fn value(buffer: &ColumnBuffer) -> Result<Value> {
    let mut encoded = buffer.encoded();
    let value = rmpv::decode::read_value(&mut encoded)?;
    if !encoded.is_empty() {
        bail!("more than one cell");
    }
    Ok(value)
}
