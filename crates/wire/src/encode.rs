//! Writes the body of a message: header, transactions, statements, items, tables, pieces, one
//! MessagePack value after another. `schemas/wire/batch.md` is the specification.

use crate::Position;
use crate::batch::{Header, Run, Statement, Transaction};
use crate::draft::TableDraft;
use crate::snapshot::Item;

pub(crate) const RUN_STATEMENT: u8 = 4;
pub(crate) const RUN_SKIPPED: u8 = 5;
pub(crate) const RUN_PIECE: u8 = 6;
/// Added to the code of a run of rows on which foreign keys act below the log.
pub(crate) const RUN_ACTS: u8 = 8;

/// What a batch holds besides its header.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) items: Vec<Item>,
    pub(crate) tables: Vec<TableDraft>,
    pub(crate) pieces: crate::ColumnBuffer,
}

/// Writes a body.
pub(crate) fn body(header: &Header, contents: &Contents) -> Vec<u8> {
    let Contents { transactions, statements, items, tables, pieces } = contents;
    let mut out = Vec::new();
    write_serde(&mut out, header);
    encode_transactions(&mut out, header, transactions);
    write_serde(&mut out, statements);
    write_serde(&mut out, items);
    write_uint(&mut out, tables.len() as u64);
    for draft in tables {
        let len =
            |columns: &[crate::ColumnBuffer]| columns.first().map_or(0, |c| u64::from(c.len()));
        write_serde(&mut out, draft.shape.as_ref());
        write_uint(&mut out, len(&draft.columns.images));
        write_uint(&mut out, len(&draft.columns.identities));
        for column in draft.columns.images.iter().chain(&draft.columns.identities) {
            out.extend_from_slice(column.encoded());
        }
    }
    write_uint(&mut out, u64::from(pieces.len()));
    out.extend_from_slice(pieces.encoded());
    out
}

/// Offsets and times are written as differences from the transaction before.
fn encode_transactions(out: &mut Vec<u8>, header: &Header, transactions: &[Transaction]) {
    write_uint(out, transactions.len() as u64);
    let (mut at, mut time_us) = (origin(header), header.commit_time_first_us);
    for transaction in transactions {
        let (start, end) = (transaction.start, transaction.end);
        if start.file != at.file {
            at.offset = 0;
        }
        write_uint(out, u64::from(start.file.wrapping_sub(at.file)));
        write_uint(out, start.offset.wrapping_sub(at.offset));
        write_uint(out, start.changes());
        // A transaction has at least one event, so 0 is free to say "goes on in the next batch".
        let complete = end.is_boundary();
        write_uint(out, if complete { end.offset.wrapping_sub(start.offset) } else { 0 });
        let _ = rmp::encode::write_sint(out, transaction.commit_time_us.wrapping_sub(time_us));
        write_uint(out, transaction.runs.len() as u64);
        for run in &transaction.runs {
            let (code, table, count) = match *run {
                Run::Rows { table, op, count, acts, .. } => {
                    (op as u8 | if acts { RUN_ACTS } else { 0 }, table, count)
                }
                Run::Statement(index) => (RUN_STATEMENT, index, 1),
                Run::Skipped(count) => (RUN_SKIPPED, 0, count),
                Run::Piece(index) => (RUN_PIECE, index, 1),
            };
            write_uint(out, u64::from(code));
            write_uint(out, u64::from(table));
            write_uint(out, u64::from(count));
        }
        at = end;
        time_us = transaction.commit_time_us;
    }
}

fn write_uint(out: &mut Vec<u8>, value: u64) {
    // Writing to a Vec cannot fail.
    let _ = rmp::encode::write_uint(out, value);
}

fn write_serde(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Our own types hold nothing that MessagePack cannot say.
    let _ = rmp_serde::encode::write(out, value);
}

/// Where the first transaction's differences count from. Every transaction of a batch lies in the
/// epoch that it ends in.
pub(crate) fn origin(header: &Header) -> Position {
    if header.prev.epoch == header.end.epoch {
        header.prev
    } else {
        Position::beginning(header.end.epoch)
    }
}
