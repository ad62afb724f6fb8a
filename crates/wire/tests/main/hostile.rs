//! Messages that no publisher of ours would write.

use crate::support::{body, builder, message, shape, statement};
use std::sync::OnceLock;
use tributary_wire::*;

pub(crate) fn limits() -> Limits {
    Limits::default()
}

fn refused(message: &[u8]) -> DecodeError {
    Batch::decode(message, &limits()).expect_err("is refused")
}

/// A message with rows, a statement, a skip and a transaction that goes on.
pub(crate) fn sample() -> &'static [u8] {
    static SAMPLE: OnceLock<Vec<u8>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let prev = Position::boundary(1, 3, 400);
        let mut b = builder(prev, 1 << 20);
        b.begin(Position::boundary(1, 3, 420), 1_000_000);
        let table = b.table(&shape("t"));
        for id in 0..5 {
            let pushed = b.row(table, Op::Insert, |columns| -> Result<(), ()> {
                columns.images[0].push_int(id);
                columns.images[1].push_bytes(b"hello");
                Ok(())
            });
            assert_eq!(pushed, Ok(Pushed::Taken));
        }
        b.skip(2);
        b.commit(Position::boundary(1, 3, 900), Some("u:1".into()));
        b.begin(Position::boundary(1, 3, 900), 2_000_000);
        assert_eq!(b.statement(&statement(b"ALTER TABLE t ADD c INT")), Pushed::Taken);
        b.commit(Position::boundary(1, 3, 1200), None);
        b.begin(Position::boundary(1, 3, 1200), 2_000_000);
        let pushed = b.row(table, Op::Delete, |columns| -> Result<(), ()> {
            columns.identities[0].push_int(3);
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
        b.seal().expect("seals").message
    })
}

/// A header in front of a body that is written by hand.
fn header_bytes(prev: Position, end: Position) -> Vec<u8> {
    let mut header = crate::support::header(prev);
    header.end = end;
    rmp_serde::to_vec(&header).expect("encodes")
}

fn uint(body: &mut Vec<u8>, value: u64) {
    rmp::encode::write_uint(body, value).expect("writes");
}

#[test]
fn a_newer_version_is_refused_with_what_to_do() {
    let mut message = sample().to_vec();
    message[3] = VERSION + 1;
    let error = refused(&message);
    assert_eq!(error, DecodeError::NewerVersion { found: VERSION + 1, known: VERSION });
    assert!(error.to_string().contains("upgrade the sync-worker"));
}

#[test]
fn version_zero_and_another_magic_are_refused() {
    let mut message = sample().to_vec();
    message[3] = 0;
    assert!(matches!(refused(&message), DecodeError::Damaged(_)));
    message[0] = b'X';
    assert_eq!(refused(&message), DecodeError::NotABatch);
}

#[test]
fn a_message_cut_off_at_any_byte_is_refused() {
    for length in 0..sample().len() {
        refused(&sample()[..length]);
    }
}

#[test]
fn a_body_cut_off_at_any_byte_is_refused() {
    let body = body(sample());
    for length in 0..body.len() {
        refused(&message(&body[..length]));
    }
}

#[test]
fn bytes_behind_the_last_table_and_behind_the_frame_are_refused() {
    let mut longer = body(sample());
    longer.push(0);
    assert!(matches!(refused(&message(&longer)), DecodeError::Inconsistent(_)));
    let mut longer = sample().to_vec();
    longer.push(0);
    assert!(matches!(refused(&longer), DecodeError::Damaged(_)));
}

#[test]
fn a_declared_size_beyond_the_limit_is_refused_before_it_is_allocated() {
    let mut message = sample().to_vec();
    message[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let DecodeError::TooLarge { found, limit, .. } = refused(&message) else { panic!("too large") };
    assert_eq!((found, limit), (u64::from(u32::MAX), 64 << 20));
}

#[test]
fn a_bomb_that_unpacks_to_more_than_it_declares_is_refused() {
    // 128 MiB of zeros in a few KiB.
    let zeros = vec![0; 1 << 20];
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("an encoder");
    for _ in 0..128 {
        std::io::Write::write_all(&mut encoder, &zeros).expect("compresses");
    }
    let bomb = encoder.finish().expect("finishes");
    assert!(bomb.len() < 20_000, "{}", bomb.len());
    for declared in [0, 4096, 64_u32 << 20] {
        let mut message = MAGIC.to_vec();
        message.push(VERSION);
        message.extend_from_slice(&declared.to_le_bytes());
        message.extend_from_slice(&bomb);
        assert!(matches!(refused(&message), DecodeError::Damaged(_)));
    }
}

#[test]
fn a_message_that_declares_more_than_it_unpacks_to_is_refused() {
    let mut message = sample().to_vec();
    message[4..8].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    assert!(matches!(refused(&message), DecodeError::Damaged(_)));
}

#[test]
fn more_cells_than_the_limit_are_refused() {
    let few = Limits { cells_max: 40, ..limits() };
    let error = Batch::decode(sample(), &few).expect_err("is refused");
    assert!(matches!(error, DecodeError::TooLarge { limit: 40, .. }), "{error}");
}

#[test]
fn counts_of_small_things_that_unpack_to_large_ones_are_refused_before_they_are_allocated() {
    let at = Position::boundary(1, 3, 400);
    let header = header_bytes(at, at);
    let many = 8 << 20;
    let array = |body: &mut Vec<u8>, len| {
        rmp::encode::write_array_len(body, len).expect("writes");
    };
    let mut transactions = header.clone();
    uint(&mut transactions, many);
    let mut runs = header.clone();
    [1, 0, 0, 0, 1, 0, many].into_iter().for_each(|value| uint(&mut runs, value));
    let mut statements = header.clone();
    uint(&mut statements, 0);
    array(&mut statements, many as u32);
    let mut items = header.clone();
    uint(&mut items, 0);
    array(&mut items, 0);
    array(&mut items, many as u32);
    let mut tables = header;
    uint(&mut tables, 0);
    array(&mut tables, 0);
    array(&mut tables, 0);
    let mut pieces = tables.clone();
    uint(&mut tables, many);
    uint(&mut pieces, 0);
    uint(&mut pieces, many);
    for mut body in [transactions, runs, statements, items, tables, pieces] {
        body.resize(body.len() + many as usize, 0);
        let error = refused(&message(&body));
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn a_table_with_more_columns_than_any_server_allows_is_refused() {
    let at = Position::boundary(1, 3, 400);
    let mut body = header_bytes(at, at);
    uint(&mut body, 0);
    rmp::encode::write_array_len(&mut body, 0).expect("writes");
    rmp::encode::write_array_len(&mut body, 0).expect("writes");
    uint(&mut body, 1);
    let column = shape("t").columns[0].clone();
    let wide = TableShape { columns: vec![column; 4097], ..shape("t").as_ref().clone() };
    body.extend(rmp_serde::to_vec(&wide).expect("encodes"));
    body.extend([0, 0]);
    let error = refused(&message(&body)).to_string();
    assert!(error.contains("at most 4096 columns"), "{error}");
}

#[test]
fn a_value_that_claims_to_be_longer_than_the_body_is_refused_without_its_memory() {
    let at = Position::boundary(1, 3, 400);
    let mut body = header_bytes(at, at);
    uint(&mut body, 0);
    rmp::encode::write_array_len(&mut body, 1).expect("writes");
    rmp::encode::write_array_len(&mut body, 11).expect("writes");
    rmp::encode::write_str(&mut body, "app").expect("writes");
    rmp::encode::write_bin_len(&mut body, u32::MAX).expect("writes");
    body.extend([0; 64]);
    assert!(matches!(refused(&message(&body)), DecodeError::Damaged(_)));
}

/// One transaction, as numbers: files, offset, part, length, time, and runs of three.
fn with_transactions(prev: Position, end: Position, transactions: &[&[u64]]) -> Vec<u8> {
    let mut body = header_bytes(prev, end);
    uint(&mut body, transactions.len() as u64);
    for transaction in transactions {
        transaction.iter().for_each(|value| uint(&mut body, *value));
    }
    rmp::encode::write_array_len(&mut body, 0).expect("writes");
    rmp::encode::write_array_len(&mut body, 0).expect("writes");
    uint(&mut body, 0);
    uint(&mut body, 0);
    message(&body)
}

#[test]
fn counts_and_positions_that_contradict_one_another_are_refused() {
    let prev = Position::boundary(1, 3, 400);
    let end = |offset| Position::boundary(1, 3, offset);
    // A run of five changes that were skipped, in a transaction of 50 bytes, is well formed.
    let fine: &[u64] = &[0, 0, 0, 50, 0, 1, 5, 0, 5];
    Batch::decode(&with_transactions(prev, end(450), &[fine]), &limits()).expect("decodes");
    let wrong: [(&str, Position, &[&[u64]]); 10] = [
        ("the header ends before the transaction", end(449), &[fine]),
        ("the run names a table", end(450), &[&[0, 0, 0, 50, 0, 1, 0, 0, 5]]),
        ("the run names a statement", end(450), &[&[0, 0, 0, 50, 0, 1, 4, 0, 1]]),
        ("the run names a piece", end(450), &[&[0, 0, 0, 50, 0, 1, 6, 0, 1]]),
        ("the run's code is unknown", end(450), &[&[0, 0, 0, 50, 0, 1, 9, 0, 5]]),
        ("it ends where it starts", end(450), &[&[0, 0, 0, 0, 0, 0]]),
        ("it goes on from nowhere", end(450), &[&[0, 0, 7, 50, 0, 1, 5, 0, 5]]),
        ("it is cut before the last", end(450), &[&[0, 0, 0, 0, 0, 1, 5, 0, 5], fine]),
        ("an offset overflows", end(450), &[&[0, u64::MAX, 0, 50, 0, 1, 5, 0, 5]]),
        ("a file number overflows", end(450), &[&[u64::from(u32::MAX), 0, 0, 50, 0, 1, 5, 0, 5]]),
    ];
    for (what, end, transactions) in wrong {
        let decoded = Batch::decode(&with_transactions(prev, end, transactions), &limits());
        assert!(decoded.is_err(), "{what}, and it is taken");
    }
}

#[test]
fn a_cut_transaction_ends_where_its_batch_ends() {
    let prev = Position::boundary(1, 3, 400);
    let cut: &[u64] = &[0, 0, 0, 0, 0, 1, 5, 0, 5];
    let mut header = crate::support::header(prev);
    header.end = prev.inside(5);
    assert!(Batch::decode(&with_transactions(prev, header.end, &[cut]), &limits()).is_ok());
    let beyond = Position::boundary(1, 3, 900);
    assert!(Batch::decode(&with_transactions(prev, beyond, &[cut]), &limits()).is_err());
}

#[test]
fn a_key_of_columns_that_are_not_there_is_refused() {
    for primary_key in [vec![2], vec![u16::MAX], vec![0, 0, 0]] {
        let at = Position::boundary(1, 3, 400);
        let mut body = header_bytes(at, at);
        uint(&mut body, 0);
        rmp::encode::write_array_len(&mut body, 0).expect("writes");
        rmp::encode::write_array_len(&mut body, 0).expect("writes");
        uint(&mut body, 1);
        let wrong = TableShape { primary_key, ..shape("t").as_ref().clone() };
        body.extend(rmp_serde::to_vec(&wrong).expect("encodes"));
        body.extend([0, 0]);
        assert!(matches!(refused(&message(&body)), DecodeError::Inconsistent(_)));
    }
}

#[test]
fn a_device_that_is_no_device_is_refused() {
    let body = body(sample());
    let at = body.windows(10).position(|bytes| bytes == b"DEVICE_001").expect("is there");
    let mut other = body.clone();
    other[at + 6] = b'.';
    let error = refused(&message(&other)).to_string();
    assert!(error.contains("device id"), "{error}");
}

/// A body of one chunk of an empty table and `more` items that refer to nothing.
fn with_items(prev: Position, end: Position, items: &[Item], key: Vec<u16>) -> Vec<u8> {
    let mut body = header_bytes(prev, end);
    uint(&mut body, 0);
    rmp::encode::write_array_len(&mut body, 0).expect("writes");
    body.extend(rmp_serde::to_vec(items).expect("encodes"));
    uint(&mut body, 1);
    let shape = TableShape { primary_key: key, ..shape("t").as_ref().clone() };
    body.extend(rmp_serde::to_vec(&shape).expect("encodes"));
    body.extend([0, 0, 0]);
    message(&body)
}

#[test]
fn items_that_contradict_their_batch_are_refused() {
    let prev = Position::boundary(1, 3, 400);
    let chunk = Item::Chunk(Chunk::default());
    let fine = with_items(prev, prev.after_items(1), std::slice::from_ref(&chunk), vec![0]);
    Batch::decode(&fine, &limits()).expect("decodes");
    let bounded =
        |table, lower, rows| Item::Chunk(Chunk { table, lower, rows, ..Chunk::default() });
    for (what, end, item, key) in [
        ("it counts two", prev.after_items(2), chunk.clone(), vec![0]),
        ("it counts none", prev, chunk.clone(), vec![0]),
        ("it ends inside a transaction", prev.inside(1), chunk, vec![0]),
        ("no such table", prev.after_items(1), bounded(1, false, 0), vec![0]),
        ("no such row", prev.after_items(1), bounded(0, false, 1), vec![0]),
        ("no such bound", prev.after_items(1), bounded(0, true, 0), vec![0]),
        ("a bound without a key", prev.after_items(1), bounded(0, true, 0), vec![]),
        ("no such statement", prev.after_items(1), Item::Statement(0), vec![0]),
        ("no such piece", prev.after_items(1), Item::Piece(0), vec![0]),
    ] {
        let decoded = Batch::decode(&with_items(prev, end, &[item], key), &limits());
        assert!(matches!(decoded, Err(DecodeError::Inconsistent(_))), "{what}: {decoded:?}");
    }
}

#[test]
fn a_statement_or_a_piece_that_is_named_more_than_once_or_never_is_refused() {
    let prev = Position::boundary(1, 3, 400);
    let mut header = crate::support::header(prev);
    header.end = Position::boundary(1, 3, 450);
    let named = |code: u64, indexes: &[u64]| {
        let mut body = rmp_serde::to_vec(&header).expect("encodes");
        let head = [1, 0, 0, 0, 50, 0, indexes.len() as u64];
        head.into_iter().for_each(|value| uint(&mut body, value));
        for index in indexes {
            [code, *index, 1].into_iter().for_each(|value| uint(&mut body, value));
        }
        let statements = [statement(b"DROP TABLE a"), statement(b"DROP TABLE b")];
        body.extend(
            rmp_serde::to_vec(&statements[..if code == 4 { 2 } else { 0 }]).expect("encodes"),
        );
        body.extend([0x90, 0]);
        uint(&mut body, if code == 6 { 2 } else { 0 });
        if code == 6 {
            body.extend([0xc4, 1, b'a', 0xc4, 1, b'b']);
        }
        Batch::decode(&message(&body), &limits())
    };
    for code in [4, 6] {
        named(code, &[0, 1]).expect("each once");
        for wrong in [&[0, 0][..], &[0, 1, 1], &[1, 0], &[0], &[]] {
            let refused = named(code, wrong);
            assert!(matches!(refused, Err(DecodeError::Inconsistent(_))), "{code} {wrong:?}");
        }
    }
}

/// A message whose rows have a value in pieces each.
fn with_pieces(rows: i64, part: u64, count: u32) -> Vec<u8> {
    let prev = Position::boundary(1, 3, 400);
    let mut b = builder(prev, 1 << 20);
    b.begin(prev, 0);
    let table = b.table(&shape("t"));
    for id in 0..rows {
        let pushed = b.row(table, Op::Insert, |columns| -> Result<(), ()> {
            columns.images[0].push_int(id);
            columns.images[1].push_staged(part, count);
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }
    b.commit(Position::boundary(1, 3, 9000), None);
    b.seal().expect("seals").message
}

#[test]
fn values_in_more_pieces_than_any_message_needs_are_refused() {
    Batch::decode(&with_pieces(4, 1, 1 << 14), &limits()).expect("decodes");
    assert!(matches!(refused(&with_pieces(1000, 1, 1 << 14)), DecodeError::TooLarge { .. }));
}

#[test]
fn pieces_without_end_are_refused() {
    // Whoever went through them from the first to the last would never end.
    let error = refused(&with_pieces(1, u64::MAX - 99, 200)).to_string();
    assert!(error.contains("overflows"), "{error}");
}
