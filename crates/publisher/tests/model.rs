//! What a target would hold: batches applied to tables whose key is one number.

use std::collections::BTreeMap;
use tributary_wire::{Batch, Cell, Chunk, Item, Op, Position, Run, TableBlock};

/// See the module. Rows are text, by table and key; a table without a key numbers its rows itself.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) tables: BTreeMap<String, BTreeMap<i64, String>>,
    pub(crate) position: Option<Position>,
    pub(crate) chunks: u64,
    pub(crate) statements: Vec<String>,
    next: i64,
}

impl Model {
    /// Applies a batch that chains; a duplicate is passed over.
    pub(crate) fn apply(&mut self, batch: &Batch) {
        let at = self.position.unwrap_or(Position::beginning(1));
        let header = &batch.header;
        if header.end <= at {
            return;
        }
        assert!(header.prev <= at, "a gap: {} after {at}", header.prev);
        let applied =
            if header.end.floor() == at.floor() && at.is_boundary() { at.items() } else { 0 };
        let first = header.end.items() - batch.items.len() as u64;
        for (nth, item) in batch.items.iter().enumerate() {
            if first + nth as u64 >= applied {
                self.item(batch, item);
            }
        }
        for transaction in batch.transactions.iter().filter(|t| t.end > at) {
            let inside = at.floor() == transaction.start.floor() && !at.is_boundary();
            let mut skip = if inside { at.changes() - transaction.start.changes() } else { 0 };
            for run in &transaction.runs {
                let skipped = skip.min(run.changes());
                skip -= skipped;
                if let Some(run) = run.skip(skipped) {
                    self.run(batch, run);
                }
            }
        }
        self.position = Some(header.end);
    }

    fn item(&mut self, batch: &Batch, item: &Item) {
        match item {
            Item::Define { database, table, .. } => {
                self.tables.entry(format!("{database}.{table}")).or_default();
            }
            Item::Chunk(chunk) => self.chunk(batch, *chunk),
            Item::Statement(index) => self.statement(batch, *index),
            Item::Tables { database, names } => {
                let names: Vec<String> = names.iter().map(|n| format!("{database}.{n}")).collect();
                let database = format!("{database}.");
                self.tables.retain(|name, _| !name.starts_with(&database) || names.contains(name));
            }
            Item::Databases(_) | Item::Piece(_) => {}
        }
    }

    fn chunk(&mut self, batch: &Batch, chunk: Chunk) {
        self.chunks += 1;
        let block = &batch.tables[chunk.table as usize];
        let rows = self.tables.get_mut(&name(block)).expect("defined before its rows");
        let key = |at: usize| number(block.identities[0][at]);
        let (lower, upper) = (chunk.lower_index().map(key), chunk.upper_index().map(key));
        let kept: Vec<i64> = chunk.kept_indexes().map(key).collect();
        if !chunk.append {
            rows.retain(|key, _| {
                let within = lower.is_none_or(|l| *key > l) && upper.is_none_or(|u| *key <= u);
                !within || kept.contains(key)
            });
        }
        for row in chunk.image..chunk.image + chunk.rows {
            let text = show(batch, &block.images, row);
            let key = if block.shape.has_key() {
                number(block.images[usize::from(block.shape.primary_key[0])][row as usize])
            } else {
                self.next += 1;
                self.next
            };
            assert!(rows.insert(key, text).is_none(), "a row of a chunk is there already");
        }
    }

    fn statement(&mut self, batch: &Batch, index: u32) {
        let sql = &batch.statements[index as usize].sql;
        self.statements.push(String::from_utf8_lossy(sql).into_owned());
    }

    fn run(&mut self, batch: &Batch, run: Run) {
        let Run::Rows { table, op, image, identity, count, .. } = run else {
            if let Run::Statement(index) = run {
                self.statement(batch, index);
            }
            return;
        };
        let block = &batch.tables[table as usize];
        let rows = self.tables.entry(name(block)).or_default();
        for nth in 0..count {
            if !block.shape.has_key() {
                let old = op.has_identity().then(|| show(batch, &block.identities, identity + nth));
                if let Some(old) = old {
                    let found = rows.iter().find(|(_, row)| **row == old).map(|(key, _)| *key);
                    rows.remove(&found.unwrap_or_else(|| panic!("no such row: {old}")));
                }
                if op.has_image() {
                    self.next += 1;
                    rows.insert(self.next, show(batch, &block.images, image + nth));
                }
                continue;
            }
            if matches!(op, Op::Rekey | Op::Delete) {
                rows.remove(&number(block.identities[0][(identity + nth) as usize]));
            }
            if op.has_image() {
                let column = usize::from(block.shape.primary_key[0]);
                let key = number(block.images[column][(image + nth) as usize]);
                rows.insert(key, show(batch, &block.images, image + nth));
            }
        }
    }
}

fn name(block: &TableBlock) -> String {
    format!("{}.{}", block.shape.database, block.shape.table)
}

fn number(cell: Cell) -> i64 {
    match cell {
        Cell::Int(value) => value,
        other => panic!("{other:?} is no number"),
    }
}

fn show(batch: &Batch, columns: &[Vec<Cell>], row: u32) -> String {
    let cells = columns.iter().map(|column| match column[row as usize] {
        Cell::Null => "NULL".to_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::UInt(value) => value.to_string(),
        cell @ Cell::Bytes { .. } => String::from_utf8_lossy(batch.bytes(cell)).into_owned(),
        other => format!("{other:?}"),
    });
    cells.collect::<Vec<_>>().join(",")
}
