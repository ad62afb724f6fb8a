use super::*;
use crate::{Rows, Step};
use proptest::prelude::*;
use std::cell::Cell;
use tributary_wire::TableColumns;

#[derive(Debug)]
struct First;

impl Digest for First {
    fn begin(&self) -> Box<dyn Hashing> {
        Box::new(FirstOf(None))
    }
}

struct FirstOf(Option<u8>);

impl Hashing for FirstOf {
    fn update(&mut self, bytes: &[u8]) {
        self.0 = self.0.or(bytes.first().copied());
    }

    fn finish(self: Box<Self>) -> [u8; 32] {
        let mut digest = [0xab; 32];
        digest[0] = self.0.unwrap_or_default();
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
    let plan = TablePlan::compile(&data, Server::MySql).expect("compiles");
    plan.with_columns(&data, Server::MySql, |index, _| choices[index], &digest)
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
    assert!(rows.write_next(&plan, &mut columns).expect("a row"));
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
    assert!(rows.write_next(&plan, &mut columns).expect("a row"));
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
    assert!(rows.write_next(&plan, &mut columns).expect("a row"));
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
    let plan = TablePlan::compile(&data, Server::MySql).expect("compiles");
    let error =
        plan.with_columns(&data, Server::MySql, |index, _| [Keep, Keep, Null][index], &digest);
    assert!(error.expect_err("refused").to_string().contains("no primary key"));
}

#[test]
fn a_plan_that_keeps_every_column_is_as_it_was() {
    let asked = Cell::new(0);
    let data = table_map();
    let digest: Arc<dyn Digest> = Arc::new(First);
    let plan = TablePlan::compile(&data, Server::MySql).expect("compiles");
    let choose = |_, _: &ColumnShape| {
        asked.set(asked.get() + 1);
        Keep
    };
    let plan = plan.with_columns(&data, Server::MySql, choose, &digest).expect("narrows");
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
        let plan = TablePlan::compile(&map, Server::MySql).map(|plan| plan.with_columns(&map, Server::MySql, choose, &digest));
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
            if rows.write_next(&plan, &mut columns) == Ok(true) {
                prop_assert!(columns.images.iter().all(|column| column.len() == 1));
                prop_assert!(columns.before.iter().all(|column| column.len() == 1));
            }
        }
    }
}

/// `app.t (id INT PRIMARY KEY, a, b, c LONGTEXT)`, table id 7.
fn large_map() -> Vec<u8> {
    let mut data = vec![7, 0, 0, 0, 0, 0, 0, 0];
    data.extend(b"\x03app\0\x01t\0");
    data.extend([4, 3, 252, 252, 252, 3, 4, 4, 4, 0b1110]);
    data.extend([2, 1, 8]); // collation latin1_swedish_ci
    data.extend(b"\x04\x09\x02id\x01a\x01b\x01c");
    data.extend([8, 1, 0]); // the key
    data
}

/// Inserts one row with values of these lengths, of the letters a, b and c; `None` is NULL.
fn large_row(lengths: [Option<usize>; 3]) -> Vec<u8> {
    let nulls = (0..3).map(|n| u8::from(lengths[n].is_none()) << (n + 1)).sum();
    let mut data = vec![7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 4, 0b1111, nulls, 1, 0, 0, 0];
    for (length, letter) in lengths.into_iter().zip(b'a'..) {
        if let Some(length) = length {
            data.extend(u32::try_from(length).expect("small").to_le_bytes());
            data.resize(data.len() + length, letter);
        }
    }
    data
}

/// How many pieces go ahead, all and those that leave; and the row's cells.
fn streamed(plan: &TablePlan, event: &[u8], carried: &[u8]) -> (u64, u64, Vec<Vec<u8>>) {
    let mut stream = Rows::parse(30, event).expect("rows").stream();
    let (mut all, mut leave) = (0, 0);
    loop {
        match stream.next(plan, 1 + all).expect("reads") {
            Step::Piece(bytes) => {
                assert!(carried.contains(&bytes[0]), "{} is not carried", bytes[0]);
                leave += 1;
            }
            Step::Withheld => {}
            Step::Row(row) => {
                return (all, leave, row.images.iter().map(|c| c.encoded().to_vec()).collect());
            }
            Step::Done => panic!("a row"),
        }
        all += 1;
    }
}

fn length() -> impl Strategy<Value = Option<usize>> {
    let near = prop::sample::select(vec![65_500_usize, 100_000, 131_000, 300_000]);
    prop_oneof![
        Just(None),
        (0_usize..40).prop_map(Some),
        (near, 0_usize..80).prop_map(|(n, m)| Some(n + m))
    ]
}

proptest! {
    /// Which values go ahead, and in how many pieces, is the log's to say and not the filter's.
    #[test]
    fn a_filter_changes_no_count_of_pieces(lengths in [length(), length(), length()], other in choice()) {
        let map = large_map();
        let digest: Arc<dyn Digest> = Arc::new(First);
        let compile = || TablePlan::compile(&map, Server::MySql).expect("compiles");
        let choose = |index: usize, _: &ColumnShape| [Keep, Keep, Hash, other][index];
        let plan = compile().with_columns(&map, Server::MySql, choose, &digest).expect("narrows");
        let event = large_row(lengths);
        let whole = |plan: &TablePlan| {
            let mut columns = TableColumns::of(&plan.shape);
            Rows::parse(30, &event).expect("rows").write_next(plan, &mut columns)
        };
        prop_assert_eq!(whole(&plan), whole(&compile()));
        let letters: &[u8] = if other == Keep { b"ac" } else { b"a" };
        let (all, leave, cells) = streamed(&plan, &event, letters);
        let (pieces, ..) = streamed(&compile(), &event, b"abc");
        prop_assert!(all == pieces && leave <= all);
        prop_assert_eq!(all == 0, whole(&plan) == Ok(true));
        let hash = Some(b'b').filter(|_| lengths[1].is_some_and(|length| length > 0)).unwrap_or(0);
        let hash = [format!("{hash:02x}").as_bytes(), "ab".repeat(31).as_bytes()].concat();
        let hash = [&[0xc4, 64][..], &hash].concat();
        prop_assert_eq!(&cells[2], if lengths[1].is_some() { &hash[..] } else { &[0xc0][..] });
    }
}
