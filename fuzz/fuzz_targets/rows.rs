//! A TABLE_MAP event and a rows event that it describes: length of the first (2 bytes), its body, the
//! type of the second (1), its body. Reading and walking past must agree on where a row ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_binlog::{Rows, Server, TablePlan};
use tributary_wire::TableColumns;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let Some((map, rest)) = rest.split_at_checked(u16::from_le_bytes(*length).into()) else { return };
    let Some((&code, data)) = rest.split_first() else { return };
    for server in [Server::MySql, Server::MariaDb] {
        let (Ok(plan), Ok(rows)) = (TablePlan::compile(map, server), Rows::parse(code, data)) else {
            return;
        };
        read(&plan, rows);
    }
});

fn read(plan: &TablePlan, mut rows: Rows<'_>) {
    while !rows.is_done() {
        let mut columns = TableColumns::of(&plan.shape);
        let mut skipped = rows.clone();
        // What goes ahead in pieces is read as a stream: the target of that name.
        if !matches!(rows.write_next(plan, &mut columns), Ok(true)) {
            return;
        }
        let is_one = skipped.skip_next(plan).expect("what can be read can be walked past");
        assert!(!is_one || skipped.is_done() == rows.is_done());
    }
}
