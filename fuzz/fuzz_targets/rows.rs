//! A TABLE_MAP event and a rows event that it describes: length of the first (2 bytes), its body, the
//! type of the second (1), its body. Reading and walking past must agree on where a row ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_binlog::{Rows, TablePlan};
use tributary_wire::{ColumnBuffer, TableColumns};

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let Some((map, rest)) = rest.split_at_checked(u16::from_le_bytes(*length).into()) else { return };
    let Some((&code, data)) = rest.split_first() else { return };
    let (Ok(plan), Ok(mut rows)) = (TablePlan::compile(map), Rows::parse(code, data)) else { return };
    let buffers = |count: usize| vec![ColumnBuffer::default(); count];
    let identity = plan.shape.identity().len();
    while !rows.is_done() {
        let mut columns = TableColumns {
            images: buffers(plan.shape.columns.len()),
            identities: buffers(identity),
            before: buffers(identity),
        };
        let mut skipped = rows.clone();
        if rows.write_next(&plan, &mut columns).is_err() {
            return;
        }
        skipped.skip_next(&plan).expect("what can be read can be walked past");
        assert_eq!(skipped.is_done(), rows.is_done());
    }
});
