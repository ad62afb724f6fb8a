//! The input of the target `rows`, read value by value. Where no value goes ahead in pieces, that gives
//! the same rows as reading them from memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_binlog::{RowStream, Rows, Server, Step, TablePlan};
use tributary_wire::TableColumns;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let Some((map, rest)) = rest.split_at_checked(u16::from_le_bytes(*length).into()) else { return };
    let Some((&code, data)) = rest.split_first() else { return };
    for server in [Server::MySql, Server::MariaDb] {
        let Ok(plan) = TablePlan::compile(map, server) else { return };
        let Ok(stream) = RowStream::open(code, data, data.len() as u64) else { return };
        let rows = Rows::parse(code, data).expect("both read the same header");
        read(&plan, stream, rows);
    }
});

fn read(plan: &TablePlan, mut stream: RowStream<&[u8]>, mut rows: Rows<'_>) {
    loop {
        let mut columns = TableColumns::of(&plan.shape);
        let is_done = rows.is_done();
        let whole = if is_done { Ok(true) } else { rows.write_next(plan, &mut columns) };
        match (stream.next(plan, 1), whole) {
            (Ok(Step::Done), _) => return assert!(is_done),
            (Ok(Step::Row(row)), Ok(true)) => assert!(encoded(row).eq(encoded(&columns))),
            (Err(_), Err(_)) => return,
            // From here on the two are not at the same place.
            (Ok(Step::Piece(_)), _) | (_, Ok(false)) => break,
            (Ok(Step::Withheld), _) => panic!("nothing is left out"),
            (Ok(Step::Row(_)), Err(error)) => panic!("only a stream reads this: {error}"),
            (Err(error), Ok(true)) => panic!("a stream does not read this: {error}"),
        }
    }
    while !matches!(stream.next(plan, 1), Ok(Step::Done) | Err(_)) {}
}

fn encoded(columns: &TableColumns) -> impl Iterator<Item = &[u8]> {
    let TableColumns { images, identities, before } = columns;
    images.iter().chain(identities).chain(before).map(|buffer| buffer.encoded())
}
