use super::*;
use proptest::prelude::*;
use std::cell::Cell;

#[derive(Debug)]
struct First;

impl Digest for First {
    fn digest(&self, value: &[u8]) -> [u8; 32] {
        let mut digest = [0xab; 32];
        digest[0] = value.first().copied().unwrap_or_default();
        digest
    }
}

/// `app.t (id INT NOT NULL PRIMARY KEY, a VARCHAR(10) latin1, b SMALLINT NOT NULL)`, table id 7.
fn table_map() -> Vec<u8> {
    let mut data = vec![7, 0, 0, 0, 0, 0, 0, 0];
    data.extend(b"\x03app\0\x01t\0");
    data.extend([3, 3, 15, 2]); // LONG, VARCHAR, SHORT
    data.extend([2, 10, 0]); // the width of the VARCHAR
    data.extend([0b010]); // nullable
    data.extend([2, 1, 8]); // collation latin1_swedish_ci
    data.extend(b"\x04\x07\x02id\x01a\x01b");
    data.extend([8, 1, 0]); // the key
    data
}

/// An update of `(1, 'x', 5)` to `(1, NULL, 6)`.
fn update() -> Vec<u8> {
    let mut data = vec![7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0b111, 0b111];
    data.extend(b"\x00\x01\x00\x00\x00\x01x\x05\x00");
    data.extend(b"\x02\x01\x00\x00\x00\x06\x00");
    data
}

fn narrowed(choices: [Choice; 3]) -> Result<TablePlan, SelectError> {
    let data = table_map();
    let digest: Arc<dyn Digest> = Arc::new(First);
    let plan = TablePlan::compile(&data).expect("compiles");
    plan.with_columns(&data, |index, _| choices[index], &digest)
}

fn names(plan: &TablePlan) -> Vec<&str> {
    plan.shape.columns.iter().map(|column| column.name.as_str()).collect()
}

use Choice::{Drop, Empty, Hash, Keep, Null};

#[test]
fn a_column_that_may_be_null_is_left_out_and_the_key_moves_with_the_rest() {
    let plan = narrowed([Keep, Drop, Keep]).expect("narrows");
    assert_eq!(names(&plan), ["id", "b"]);
    assert_eq!(plan.shape.primary_key, [0]);
    let data = update();
    let mut rows = Rows::parse(31, &data).expect("rows");
    let mut columns = columns(2);
    rows.write_next(&plan, &mut columns).expect("a row");
    assert!(rows.is_done());
    assert_eq!(columns.images[0].encoded(), [1]);
    assert_eq!(columns.images[1].encoded(), [6]);
    assert_eq!(columns.before[0].encoded(), [1]);
}

#[test]
fn a_column_that_may_not_be_null_stays_and_holds_its_empty_value() {
    let plan = narrowed([Keep, Empty, Drop]).expect("narrows");
    assert_eq!(names(&plan), ["id", "a", "b"]);
    let data = update();
    let mut rows = Rows::parse(31, &data).expect("rows");
    let mut columns = columns(3);
    rows.write_next(&plan, &mut columns).expect("a row");
    assert_eq!(columns.images[1].encoded(), [0xc4, 0], "also where it is NULL");
    assert_eq!(columns.images[2].encoded(), [0]);
}

#[test]
fn hashes_fit_their_columns() {
    let plan = narrowed([Keep, Hash, Hash]).expect("narrows");
    let data = update();
    let insert = [&data[..12], &data[13..22]].concat();
    let mut rows = Rows::parse(30, &insert).expect("rows");
    let mut columns = columns(3);
    rows.write_next(&plan, &mut columns).expect("a row");
    assert_eq!(&columns.images[1].encoded()[2..], b"78abababab", "ten characters");
    // '5' is 0x35: 15 bits of 0x35ab…
    assert_eq!(columns.images[2].encoded(), [0xcd, 0x1a, 0xd5]);
}

#[test]
fn what_would_not_be_exact_is_refused() {
    let refused = |choices| narrowed(choices).expect_err("refused").to_string();
    assert!(refused([Drop, Keep, Keep]).contains("part of the primary key"));
    assert!(refused([Hash, Keep, Keep]).contains("one row of two"));
    assert!(refused([Keep, Keep, Null]).contains("NOT NULL"));
    let mut data = table_map();
    data.truncate(data.len() - 3);
    let digest: Arc<dyn Digest> = Arc::new(First);
    let plan = TablePlan::compile(&data).expect("compiles");
    let error = plan.with_columns(&data, |index, _| [Keep, Keep, Null][index], &digest);
    assert!(error.expect_err("refused").to_string().contains("no primary key"));
}

#[test]
fn a_plan_that_keeps_every_column_is_as_it_was() {
    let asked = Cell::new(0);
    let data = table_map();
    let digest: Arc<dyn Digest> = Arc::new(First);
    let plan = TablePlan::compile(&data).expect("compiles");
    let choose = |_, _: &ColumnShape| {
        asked.set(asked.get() + 1);
        Keep
    };
    let plan = plan.with_columns(&data, choose, &digest).expect("narrows");
    assert!(plan.selection.is_none());
    assert_eq!(asked.get(), 3);
}

fn columns(count: usize) -> TableColumns {
    let buffers = |n: usize| vec![ColumnBuffer::default(); n];
    TableColumns { images: buffers(count), identities: buffers(1), before: buffers(1) }
}

fn choice() -> impl Strategy<Value = Choice> {
    prop::sample::select(vec![Keep, Drop, Null, Empty, Hash])
}

proptest! {
    /// Whatever an event claims: an error or a row, and the columns of one length.
    #[test]
    fn damaged_events_are_errors_and_never_a_panic(
        choices in [choice(), choice(), choice()],
        map_at in 0_usize..40, map_byte: u8, rows_at in 0_usize..30, rows_byte: u8, cut in 0_usize..30,
    ) {
        let mut map = table_map();
        if let Some(byte) = map.get_mut(map_at) {
            *byte = map_byte;
        }
        let digest: Arc<dyn Digest> = Arc::new(First);
        let choose = |index: usize, _: &ColumnShape| choices.get(index).copied().unwrap_or(Keep);
        let plan = TablePlan::compile(&map).map(|plan| plan.with_columns(&map, choose, &digest));
        let mut data = update();
        if let Some(byte) = data.get_mut(rows_at) {
            *byte = rows_byte;
        }
        data.truncate(data.len().saturating_sub(cut));
        if let (Ok(Ok(plan)), Ok(mut rows)) = (plan, Rows::parse(31, &data)) {
            let (count, keys) = (plan.shape.columns.len(), plan.shape.identity().len());
            let buffers = |n: usize| vec![ColumnBuffer::default(); n];
            let mut columns = TableColumns {
                images: buffers(count),
                identities: buffers(keys),
                before: buffers(keys),
            };
            if rows.write_next(&plan, &mut columns).is_ok() {
                prop_assert!(columns.images.iter().all(|column| column.len() == 1));
                prop_assert!(columns.before.iter().all(|column| column.len() == 1));
            }
        }
    }
}
