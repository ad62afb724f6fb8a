//! Transactions at random, cut at random, read back as they were.

use crate::reading::{Seen, Value, flat, read, show_row};
use crate::support::{builder, shape, statement};
use proptest::prelude::*;
use std::sync::Arc;
use tributary_wire::*;

type Row = Vec<Value>;

#[derive(Debug, Clone)]
enum Change {
    Insert(usize, Row),
    /// A table, the row before and the row after.
    Update(usize, Row, Row),
    Delete(usize, Row),
    Statement(Vec<u8>),
    Skip(u32),
    /// Not a change: the publisher seals here.
    Seal,
}

/// One table by its key, one by two columns, one without a key.
fn tables() -> Vec<Arc<TableShape>> {
    let columns = |n: usize| {
        let column = &shape("t").columns[1];
        (0..n).map(|i| ColumnShape { name: format!("c{i}"), ..column.clone() }).collect()
    };
    let table = |name: &str, n: usize, primary_key: Vec<u16>| {
        Arc::new(TableShape {
            database: "app".into(),
            table: name.into(),
            columns: columns(n),
            primary_key,
        })
    };
    vec![table("one", 3, vec![0]), table("two", 4, vec![2, 1]), table("none", 2, vec![])]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        // Few values, so that keys stay the same now and then.
        (-2..3_i64).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::Bytes),
    ]
}

fn row(table: usize) -> impl Strategy<Value = Row> {
    prop::collection::vec(value(), tables()[table].columns.len())
}

fn change() -> impl Strategy<Value = Change> {
    let rows = (0..3_usize).prop_flat_map(|table| {
        prop_oneof![
            row(table).prop_map(move |row| Change::Insert(table, row)),
            (row(table), row(table)).prop_map(move |(from, to)| Change::Update(table, from, to)),
            row(table).prop_map(move |row| {
                let mut to = row.clone();
                to[0] = Value::Null;
                Change::Update(table, row, to)
            }),
            row(table).prop_map(move |row| Change::Delete(table, row)),
        ]
    });
    prop_oneof![
        12 => rows,
        1 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Change::Statement),
        1 => (1..5_u32).prop_map(Change::Skip),
        1 => Just(Change::Seal),
    ]
}

fn push(buffer: &mut ColumnBuffer, value: &Value) {
    match value {
        Value::Null => buffer.push_null(),
        Value::Int(v) => buffer.push_int(*v),
        Value::UInt(v) => buffer.push_uint(*v),
        Value::F32(v) => buffer.push_f32(*v),
        Value::F64(v) => buffer.push_f64(*v),
        Value::Bytes(v) => buffer.push_bytes(v),
    }
}

fn identity(shape: &TableShape, row: &[Value]) -> Row {
    shape.identity().iter().map(|&column| row[usize::from(column)].clone()).collect()
}

/// What a reader should see of a change; `None` for what it need not.
fn wanted(tables: &[Arc<TableShape>], change: &Change) -> Option<String> {
    let name = |table: usize| &tables[table].table;
    let key = |table: usize, row: &Row| show_row(&identity(&tables[table], row));
    match change {
        Change::Insert(table, row) => Some(format!("Insert {} {}", name(*table), show_row(row))),
        Change::Update(table, from, to) => {
            let moved = !tables[*table].has_key() || key(*table, from) != key(*table, to);
            let (op, key) =
                if moved { ("Rekey", key(*table, from)) } else { ("Update", String::new()) };
            Some(format!("{op} {} {key} > {}", name(*table), show_row(to)))
        }
        Change::Delete(table, row) => Some(format!("Delete {} {}", name(*table), key(*table, row))),
        Change::Statement(sql) => Some(format!("Statement {sql:02x?}")),
        Change::Skip(_) | Change::Seal => None,
    }
}

fn write(b: &mut BatchBuilder, tables: &[Arc<TableShape>], change: &Change) -> Pushed {
    let put = |buffers: &mut [ColumnBuffer], row: &[Value]| {
        buffers.iter_mut().zip(row).for_each(|(buffer, value)| push(buffer, value));
    };
    let (table, op) = match change {
        Change::Insert(table, _) => (*table, Op::Insert),
        Change::Update(table, ..) => (*table, Op::Update),
        Change::Delete(table, _) => (*table, Op::Delete),
        Change::Statement(sql) => return b.statement(&statement(sql)),
        Change::Skip(count) => {
            b.skip(*count);
            return Pushed::Taken;
        }
        Change::Seal => return Pushed::Full,
    };
    let shape = &tables[table];
    let index = b.table(shape);
    let pushed = b.row(index, op, |columns| -> Result<(), ()> {
        match change {
            Change::Insert(_, row) => put(&mut columns.images, row),
            Change::Update(_, from, to) => {
                put(&mut columns.before, &identity(shape, from));
                put(&mut columns.images, to);
            }
            Change::Delete(_, row) => put(&mut columns.identities, &identity(shape, row)),
            Change::Statement(_) | Change::Skip(_) | Change::Seal => {}
        }
        Ok(())
    });
    pushed.expect("is written")
}

/// Publishes transactions the way a publisher does, and says what a reader should see.
fn publish(transactions: &[Vec<Change>], message_bytes_max: usize) -> (Vec<Seal>, Vec<Seen>) {
    let tables = tables();
    let mut b = builder(Position::boundary(1, 1, 4), message_bytes_max);
    let (mut seals, mut seen) = (Vec::new(), Vec::new());
    for (n, changes) in transactions.iter().enumerate() {
        // Every fifth transaction begins a file.
        let (file, offset) = (1 + n as u32 / 5, 100 + (n as u64 % 5) * 1000);
        let start = Position::boundary(1, file, offset);
        b.begin(start, 1_000_000 - n as i64);
        let mut part = 0;
        for change in changes {
            let mut pushed = write(&mut b, &tables, change);
            if pushed == Pushed::Full {
                seals.push(b.seal().expect("seals"));
                let is_change = !matches!(change, Change::Seal);
                pushed = if is_change { write(&mut b, &tables, change) } else { Pushed::Taken };
            }
            assert_eq!(pushed, Pushed::Taken, "fits an empty batch");
            let here = start.inside(part);
            seen.extend(wanted(&tables, change).map(|text| (here, text)));
            part += match change {
                Change::Skip(count) => u64::from(*count),
                Change::Seal => 0,
                _ => 1,
            };
        }
        b.commit(Position::boundary(1, file, offset + 900), Some(format!("u:{n}")));
    }
    seals.push(b.seal().expect("seals"));
    (seals, seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_published_is_what_is_read_in_chained_messages_of_bounded_size(
        transactions in prop::collection::vec(prop::collection::vec(change(), 0..20), 1..12),
        message_bytes_max in 2500..6000_usize,
    ) {
        let (seals, wanted) = publish(&transactions, message_bytes_max);
        let mut seen = Vec::new();
        let mut at = Position::boundary(1, 1, 4);
        for seal in &seals {
            prop_assert!(seal.message.len() <= message_bytes_max, "{} bytes", seal.message.len());
            let batch = Batch::decode(&seal.message, &Limits::default()).expect("decodes");
            prop_assert_eq!(&batch.header, &seal.header);
            prop_assert_eq!(batch.header.prev, at, "the batches do not chain");
            prop_assert_eq!(batch.rows(), seal.rows);
            at = batch.header.end;
            seen.extend(read(&batch));
        }
        prop_assert_eq!(seen, wanted);
        prop_assert!(at.is_boundary());
    }

    #[test]
    fn a_transaction_read_again_from_a_cut_is_the_rest_of_it(
        changes in prop::collection::vec(change(), 1..30),
        skip in 0..40_u64,
    ) {
        let (seals, _) = publish(&[changes], 1 << 20);
        for seal in &seals {
            let batch = Batch::decode(&seal.message, &Limits::default()).expect("decodes");
            for transaction in &batch.transactions {
                let all: Vec<Option<String>> = flat(&batch, &transaction.runs);
                let mut left = skip;
                let rest: Vec<Run> = transaction
                    .runs
                    .iter()
                    .filter_map(|run| {
                        let here = left.min(run.changes());
                        left -= here;
                        run.skip(here)
                    })
                    .collect();
                let from = usize::try_from(skip).expect("fits").min(all.len());
                prop_assert_eq!(flat(&batch, &rest), all[from..].to_vec());
            }
        }
    }
}
