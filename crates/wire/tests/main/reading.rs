//! What a batch says, change by change, as text that can be compared.

use tributary_wire::*;

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
    Bytes(Vec<u8>),
}

/// A change as a reader sees it: where it lies, and what it is.
pub(crate) type Seen = (Position, String);

/// What a reader makes of a value; floats by their bits, so that NaN is equal to itself.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Int(v) => v.to_string(),
        Value::UInt(v) => v.to_string(),
        Value::F32(v) => format!("f32:{:x}", v.to_bits()),
        Value::F64(v) => format!("f64:{:x}", v.to_bits()),
        Value::Bytes(v) => format!("{v:02x?}"),
    }
}

pub(crate) fn show_row(row: &[Value]) -> String {
    row.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn read_cells(batch: &Batch, columns: &[Vec<Cell>], row: u32) -> String {
    let cells = columns.iter().map(|column| match column[row as usize] {
        Cell::Null => Value::Null,
        Cell::Int(v) => Value::Int(v),
        Cell::UInt(v) => Value::UInt(v),
        Cell::F32(v) => Value::F32(v),
        Cell::F64(v) => Value::F64(v),
        cell @ Cell::Bytes { .. } => Value::Bytes(batch.bytes(cell).to_vec()),
        Cell::Staged { part, count } => panic!("a value in {count} pieces from {part}"),
    });
    show_row(&cells.collect::<Vec<_>>())
}

fn read_run(batch: &Batch, run: Run, change: u32) -> Option<String> {
    match run {
        Run::Rows { table, op, image, identity, .. } => {
            let block = &batch.tables[table as usize];
            let name = &block.shape.table;
            let image = || read_cells(batch, &block.images, image + change);
            let identity = || read_cells(batch, &block.identities, identity + change);
            Some(match op {
                Op::Insert => format!("Insert {name} {}", image()),
                Op::Update => format!("Update {name}  > {}", image()),
                Op::Rekey => format!("Rekey {name} {} > {}", identity(), image()),
                Op::Delete => format!("Delete {name} {}", identity()),
            })
        }
        Run::Statement(index) => {
            Some(format!("Statement {:02x?}", batch.statements[index as usize].sql))
        }
        Run::Piece(index) => {
            Some(format!("Piece {:02x?}", batch.bytes(batch.pieces[index as usize])))
        }
        Run::Skipped(_) => None,
    }
}

/// What a batch says, change by change.
pub(crate) fn read(batch: &Batch) -> Vec<Seen> {
    let mut seen = Vec::new();
    for transaction in &batch.transactions {
        let mut part = transaction.start.changes();
        for run in &transaction.runs {
            for change in 0..run.changes() {
                let text = read_run(batch, *run, u32::try_from(change).expect("fits"));
                seen.extend(text.map(|text| (transaction.start.inside(part), text)));
                part += 1;
            }
        }
    }
    seen
}

/// Every change of some runs.
pub(crate) fn flat(batch: &Batch, runs: &[Run]) -> Vec<Option<String>> {
    let changes = runs.iter().flat_map(|run| (0..run.changes()).map(move |change| (*run, change)));
    changes
        .map(|(run, change)| read_run(batch, run, u32::try_from(change).expect("fits")))
        .collect()
}
