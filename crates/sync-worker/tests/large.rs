//! Values that are too large for a message: they arrive in pieces, and the shard puts them together.

use crate::device::{Change, Device, Range, Value, bytes, column, int, table};
use crate::shard::{Target, apply_all, query, settle, target, unique};
use std::sync::Arc;
use tributary_sync_worker::apply;
use tributary_testkit::Flavour;
use tributary_wire::{ColumnKind, ColumnShape, TableShape};

const DDL: &str = "CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB, s LONGTEXT CHARACTER SET latin1, j JSON) CHARACTER SET utf8mb4";

fn shape(key: u16) -> Arc<TableShape> {
    let latin1 = ColumnShape { collation: 8, ..column("s", ColumnKind::Text) };
    let columns = vec![
        column("id", ColumnKind::Integer),
        column("b", ColumnKind::Binary),
        latin1,
        column("j", ColumnKind::Json),
    ];
    table("t", columns, key)
}

/// Bytes of every sort, in pieces of uneven length.
fn pieces(seed: u8, count: usize) -> Vec<Vec<u8>> {
    let byte = |i: usize| u8::try_from((i * 7 + usize::from(seed)) % 256).expect("a byte");
    (0..count).map(|n| (0..1000 + n * 37).map(|i| byte(i + n)).collect()).collect()
}

async fn look(target: &mut Target, device: &Device) -> Vec<String> {
    let sql = format!(
        "SELECT id, SHA2(b, 256), HEX(s), CAST(j AS CHAR) FROM `{}__app`.t ORDER BY id, LENGTH(b)",
        device.id
    );
    query(target, &sql).await
}

async fn digest(target: &mut Target, pieces: &[Vec<u8>]) -> String {
    let hex: String = pieces.concat().iter().map(|byte| format!("{byte:02x}")).collect();
    query(target, &format!("SELECT SHA2(x'{hex}', 256)")).await.remove(0)
}

async fn pieces_left(target: &mut Target, device: &Device) -> Vec<String> {
    let sql =
        format!("SELECT COUNT(*) FROM {}.piece WHERE device_id='{}'", target.database, device.id);
    query(target, &sql).await
}

#[tokio::test]
async fn values_in_pieces_are_put_together_whatever_lies_between() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("large")));
        let t = shape(1);
        device.ddl(DDL);
        device.begin();
        // More than one statement puts together.
        let blob = pieces(3, 150);
        let parts: Vec<u64> = blob.iter().map(|piece| device.piece(piece)).collect();
        let first = device.batch();
        let text = device.piece("caf".as_bytes());
        device.piece(&[0xe9, 0x27, 0x5c]);
        let json = device.piece(br#"{"a": ["#);
        device.piece("1, \"ü\"]}".as_bytes());
        let second = device.batch();
        let staged = vec![
            int(1),
            Value::Staged(parts[0], 150),
            Value::Staged(text, 2),
            Value::Staged(json, 2),
        ];
        let small = vec![int(2), bytes(b"b"), bytes(b"s"), bytes(b"[]")];
        device.change(&t, &Change::Insert(small.clone()));
        device.change(&t, &Change::Insert(staged));
        device.commit();
        let third = device.batch();
        apply_all(&mut target, &device.id, &[&first]).await;
        apply_all(&mut target, &device.id, &[&first, &second]).await;
        apply_all(&mut target, &device.id, &[&second, &third, &third]).await;
        let sum = digest(&mut target, &blob).await;
        let found = look(&mut target, &device).await;
        assert_eq!(found[0], format!("1|{sum}|636166E9275C|{{\"a\": [1, \"ü\"]}}"), "{flavour}");
        assert!(found[1].ends_with("|73|[]"), "{found:?}");
        assert_eq!(pieces_left(&mut target, &device).await, ["0"]);
    }
}

#[tokio::test]
async fn pieces_of_two_transactions_with_the_same_parts_are_not_mixed() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("large")));
        let t = shape(1);
        device.ddl(DDL);
        let ddl = device.batch();
        apply_all(&mut target, &device.id, &[&ddl]).await;
        let mut sums = Vec::new();
        for id in 1..=3 {
            let blob = pieces(u8::try_from(id).expect("small"), 3);
            device.begin();
            let first = device.piece(&blob[0]);
            blob[1..].iter().for_each(|piece| _ = device.piece(piece));
            let image = vec![int(id), Value::Staged(first, 3), Value::Null, Value::Null];
            device.change(&t, &Change::Insert(image));
            device.commit();
            sums.push(format!("{id}|{}|~|~", digest(&mut target, &blob).await));
        }
        // One that a later change overtakes costs nothing.
        device.begin();
        let first = device.piece(b"never seen");
        let staged = vec![int(2), Value::Staged(first, 1), Value::Null, Value::Null];
        let last = vec![int(2), bytes(b"last"), Value::Null, Value::Null];
        device.change(&t, &Change::Update(last.clone(), staged));
        device.change(&t, &Change::Update(last.clone(), last));
        device.commit();
        sums[1] = format!("2|{}|~|~", digest(&mut target, &[b"last".to_vec()]).await);
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        assert_eq!(look(&mut target, &device).await, sums, "{flavour}");
        assert_eq!(pieces_left(&mut target, &device).await, ["0"]);
    }
}

#[tokio::test]
async fn rows_without_a_key_are_found_and_changed_by_values_in_pieces() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("large")));
        let t = shape(0);
        device.ddl(&DDL.replace(" PRIMARY KEY", ""));
        let (old, new) = (pieces(1, 2), pieces(2, 3));
        let put = |device: &mut Device, blob: &[Vec<u8>]| -> Vec<Value> {
            let first = device.piece(&blob[0]);
            blob[1..].iter().for_each(|piece| _ = device.piece(piece));
            let count = u32::try_from(blob.len()).expect("few");
            vec![int(1), Value::Staged(first, count), bytes(b"x"), bytes(b"[1]")]
        };
        for blob in [&old, &old, &new] {
            device.begin();
            let image = put(&mut device, blob);
            device.change(&t, &Change::Insert(image));
            device.commit();
        }
        device.begin();
        let (before, after) = (put(&mut device, &old), put(&mut device, &new));
        device.change(&t, &Change::Update(before, after));
        let gone = put(&mut device, &old);
        device.change(&t, &Change::Delete(gone));
        device.commit();
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let line = format!("1|{}|78|[1]", digest(&mut target, &new).await);
        assert_eq!(look(&mut target, &device).await, [line.clone(), line], "{flavour}");
    }
}

#[tokio::test]
async fn a_chunk_holds_values_in_pieces_too() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("large")));
        device.ddl(DDL);
        let ddl = device.batch();
        let blob = pieces(9, 2);
        let first = device.item_piece(&blob[0]);
        let pieces = device.batch();
        device.item_piece(&blob[1]);
        let image = vec![int(1), Value::Staged(first, 2), Value::Null, Value::Null];
        device.chunk(&shape(1), &Range::default(), &[image]);
        let chunk = device.batch();
        apply_all(&mut target, &device.id, &[&ddl, &pieces]).await;
        assert_eq!(pieces_left(&mut target, &device).await, ["1"]);
        apply_all(&mut target, &device.id, &[&pieces, &chunk, &chunk]).await;
        let sum = digest(&mut target, &blob).await;
        assert_eq!(look(&mut target, &device).await, [format!("1|{sum}|~|~")], "{flavour}");
        assert_eq!(pieces_left(&mut target, &device).await, ["0"]);
    }
}

#[tokio::test]
async fn a_missing_piece_and_a_value_beyond_the_servers_limit_are_refused_with_the_reason() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("large")));
        let t = shape(1);
        device.ddl(DDL);
        device.begin();
        let first = device.piece(b"only one");
        let image = vec![int(1), Value::Staged(first, 2), Value::Null, Value::Null];
        device.change(&t, &Change::Insert(image));
        device.commit();
        let batch = device.batch();
        settle_ddl(&mut target, &device, &batch).await;
        let works = [crate::shard::work(&device.id, &[&batch])];
        let error = apply::apply(&mut target, &works).await.expect_err("refused");
        assert!(error.to_string().contains("missing"), "{error}");
        target.session.reset().await.expect("resets");
        assert_eq!(look(&mut target, &device).await, [""; 0]);

        // 20 MiB; the servers take 16 MiB (MariaDB) or 64 MiB (MySQL) unless told otherwise.
        let limit = query(&mut target, "SELECT @@max_allowed_packet").await.remove(0);
        let limit: usize = limit.parse().expect("a number");
        let (mut device, piece) = (Device::new(&unique("large")), vec![7u8; 1 << 19]);
        device.ddl(DDL);
        device.begin();
        let mut batches = vec![device.batch()];
        let count = limit / piece.len() + 1;
        let mut first = None;
        for _ in 0..count {
            first.get_or_insert(device.piece(&piece));
            batches.push(device.batch());
        }
        let count = u32::try_from(count).expect("few");
        let image =
            vec![int(1), Value::Staged(first.expect("one"), count), Value::Null, Value::Null];
        device.change(&t, &Change::Insert(image));
        device.commit();
        let last = device.batch();
        for batch in &batches {
            settle(&mut target, &device.id, &[batch]).await;
        }
        let works = [crate::shard::work(&device.id, &[&last])];
        let error = apply::apply(&mut target, &works).await.expect_err("refused");
        assert!(error.to_string().contains("max_allowed_packet"), "{error}");
    }
}

/// Runs the statement that a batch begins with.
async fn settle_ddl(target: &mut Target, device: &Device, batch: &tributary_wire::Batch) {
    let works = [crate::shard::work(&device.id, &[batch])];
    let outcomes = apply::apply(target, &works).await.expect("applies");
    let barrier = outcomes.into_iter().next().and_then(|one| one.pass.barrier).expect("stops");
    tributary_sync_worker::ddl::apply(target, &device.id, &barrier).await.expect("runs");
}
