//! Many changes of tables without a key: as work on sets of rows, and as exact as one by one.

use crate::device::{Change, Device, Value, column, int, table, text};
use crate::shard::{self, Target, apply_all, query, run, target, unique};
use mysql_async::Value as Sql;
use std::collections::BTreeMap;
use std::sync::Arc;
use tributary_sync_worker::apply;
use tributary_sync_worker::classify::{Class, classify};
use tributary_testkit::Flavour;
use tributary_wire::{ColumnKind, ColumnShape, DeviceId, TableShape};

/// Rows that are easily taken for one another.
fn alike() -> Vec<Vec<Value>> {
    let numbers = [Value::Null, int(0), int(1)];
    let texts = ["", "a", "A", "a ", "ä"].map(text).into_iter().chain([Value::Null]);
    let texts: Vec<Value> = texts.collect();
    let doubles = [0.0, 0.1, 1.5, 1e15, 1e-20].map(Value::F64);
    let mut rows = Vec::new();
    for number in &numbers {
        for text in &texts {
            rows.push(vec![number.clone(), text.clone(), Value::Null]);
        }
        for double in &doubles {
            rows.push(vec![number.clone(), Value::Null, double.clone()]);
        }
    }
    rows
}

fn alike_shape() -> Arc<TableShape> {
    let columns = vec![
        column("n", ColumnKind::Integer),
        column("v", ColumnKind::Text),
        column("d", ColumnKind::Double),
    ];
    table("t", columns, 0)
}

/// As [`counts`] shows a row.
fn shown(row: &[Value]) -> String {
    let value = |value: &Value| match value {
        Value::Int(value) => value.to_string(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Value::F64(value) => Sql::Double(*value).as_sql(true),
        _ => "~".to_owned(),
    };
    row.iter().map(value).collect::<Vec<_>>().join("|")
}

/// How often each row is there.
async fn counts(target: &mut Target, device: &DeviceId) -> BTreeMap<String, usize> {
    let sql = format!("SELECT n, HEX(v), d FROM `{device}__app`.t");
    let mut counts = BTreeMap::new();
    for row in query(target, &sql).await {
        let mut parts: Vec<String> = row.split('|').map(str::to_owned).collect();
        if let Ok(double) = parts[2].parse::<f64>() {
            parts[2] = Sql::Double(double).as_sql(true);
        }
        *counts.entry(parts.join("|")).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn any_changes_of_rows_that_look_alike_leave_as_many_of_each_as_the_device_has() {
    let pool = alike();
    for flavour in Flavour::ALL {
        for (seed, index) in [(1, ""), (2, ", INDEX (v(3), n)"), (3, ", INDEX (n), UNIQUE (d, v)")]
        {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut target, mut device) = (target(flavour).await, Device::new(&unique("dev")));
            device.ddl(&format!(
                "CREATE TABLE t (n INT, v VARCHAR(9), d DOUBLE{index}) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
            ));
            let mut batches = vec![device.batch()];
            // With the unique index: only values that are NULL in it, and so unlike each other.
            let pool: Vec<_> = pool
                .iter()
                .filter(|row| index.is_empty() || row[1] == Value::Null || row[2] == Value::Null)
                .cloned()
                .collect();
            let mut model: Vec<Vec<Value>> = Vec::new();
            for _ in 0..12 {
                let mut changes = Vec::new();
                for _ in 0..random.usize(20..120) {
                    let new = pool[random.usize(..pool.len())].clone();
                    let at = random.usize(..model.len().max(1));
                    match random.u8(0..4) {
                        0 | 1 => {
                            model.push(new.clone());
                            changes.push(Change::Insert(new));
                        }
                        2 if !model.is_empty() => {
                            let old = std::mem::replace(&mut model[at], new.clone());
                            changes.push(Change::Update(old, new));
                        }
                        _ if !model.is_empty() => {
                            changes.push(Change::Delete(model.swap_remove(at)));
                        }
                        _ => {}
                    }
                }
                device.transaction(&alike_shape(), &changes);
                batches.push(device.batch());
            }
            for batch in &batches {
                apply_all(&mut target, &device.id, &[batch]).await;
            }
            let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
            model.iter().for_each(|row| *wanted.entry(shown(row)).or_default() += 1);
            let stored = counts(&mut target, &device.id).await;
            assert_eq!(stored, wanted, "{flavour}, seed {seed}");
        }
    }
}

/// One column of each kind, with its type at the target and a value of the n-th row.
fn kinds(n: i64) -> Vec<(ColumnShape, &'static str, Value)> {
    let of = |name, kind| column(name, kind);
    let scaled = |name, kind, scale| ColumnShape { scale, ..column(name, kind) };
    let unsigned = |name| ColumnShape { unsigned: true, ..column(name, ColumnKind::Integer) };
    let latin = ColumnShape { collation: 8, ..column("l", ColumnKind::Text) };
    let datetime = (((2024 * 13 + 1 + n % 12) << 5 | (1 + n % 28)) << 17 | (n % 24) << 12) << 24;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let real = n as f64 / 7.0 - 50.0;
    #[expect(clippy::cast_possible_truncation, reason = "a FLOAT")]
    let small = real as f32 * 1e-9;
    vec![
        (unsigned("i"), "INT(8) ZEROFILL", int(n)),
        (unsigned("u"), "BIGINT UNSIGNED", Value::UInt(u64::MAX - n as u64)),
        (of("s", ColumnKind::Integer), "BIGINT", int(i64::MIN + n)),
        (of("b", ColumnKind::Bit), "BIT(64)", Value::UInt(u64::MAX - n as u64)),
        (of("y", ColumnKind::Year), "YEAR", int(1901 + n % 200)),
        (of("f", ColumnKind::Float), "FLOAT", Value::F32(small)),
        (of("d", ColumnKind::Double), "DOUBLE", Value::F64(real * 1e18)),
        (
            of("c", ColumnKind::Decimal),
            "DECIMAL(20,4)",
            text(&format!("{}.0{}00", n - 500, n % 10)),
        ),
        (of("da", ColumnKind::Date), "DATE", int(2024 << 9 | (n % 13) << 5 | (n % 32))),
        (scaled("ti", ColumnKind::Time, 3), "TIME(3)", int((n - 500) * 2_000_123_000)),
        (scaled("dt", ColumnKind::DateTime, 6), "DATETIME(6)", int(datetime | n)),
        (scaled("ts", ColumnKind::Timestamp, 2), "TIMESTAMP(2) NULL", int(n * 1_234_560_000)),
        (of("e", ColumnKind::Enum), "ENUM('x','y','z')", int(1 + n % 3)),
        (of("se", ColumnKind::Set), "SET('p','q','r')", int(n % 8)),
        (scaled("ch", ColumnKind::Text, 80), "CHAR(20)", text(&format!("é{n}"))),
        (
            latin,
            "VARCHAR(20) CHARACTER SET latin1",
            Value::Bytes(vec![0xe9, b'0' + (n % 10) as u8]),
        ),
        (
            scaled("bi", ColumnKind::Binary, 4),
            "BINARY(4)",
            Value::Bytes(vec![(n % 256) as u8, 0, 0, 0]),
        ),
        (of("bl", ColumnKind::Binary), "BLOB", Value::Bytes(vec![b'\'', (n % 256) as u8, 0])),
        (of("z", ColumnKind::Text), "VARCHAR(9)", if n % 2 == 0 { Value::Null } else { text("") }),
    ]
}

#[tokio::test]
async fn a_purge_of_rows_of_every_kind_is_a_few_statements() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("dev")));
        let types = kinds(0);
        let types: Vec<_> =
            types.iter().map(|(shape, sql, _)| format!("{} {sql}", shape.name)).collect();
        device.ddl(&format!("CREATE TABLE t ({}) CHARACTER SET utf8mb4", types.join(",")));
        let shape = table("t", kinds(0).into_iter().map(|(shape, ..)| shape).collect(), 0);
        let row = |n: i64| kinds(n).into_iter().map(|(_, _, value)| value).collect::<Vec<_>>();
        // Every row twice.
        let all: Vec<_> = (0..1000).chain(0..1000).map(|n| Change::Insert(row(n))).collect();
        device.transaction(&shape, &all);
        let made = device.batch();
        apply_all(&mut target, &device.id, &[&made]).await;
        // Both copies of some, one copy of others; some change.
        let purge = (0..300).chain(0..300).chain(300..500).map(|n| Change::Delete(row(n)));
        let changed = (600..700).map(|n| Change::Update(row(n), row(n + 1000)));
        let changes: Vec<_> = purge.chain(changed).collect();
        device.transaction(&shape, &changes);
        let batch = device.batch();
        let before = deletions(&mut target).await;
        apply_all(&mut target, &device.id, &[&batch]).await;
        let statements = deletions(&mut target).await - before;
        // MySQL writes few doubles otherwise than the worker: their rows are looked for one by one.
        assert!(statements <= 20, "{flavour}: {statements} statements");
        let stored = query(
            &mut target,
            &format!(
                "SELECT COUNT(*), SUM(i < 300), SUM(i BETWEEN 300 AND 499), SUM(i BETWEEN 600 AND 699), SUM(i >= 1000), \
                 SUM(i >= 1000 AND HEX(ch)=CONCAT('C3A9', HEX(CONCAT(i+0)))) FROM `{}__app`.t",
                device.id
            ),
        )
        .await;
        assert_eq!(stored, ["1200|0|200|100|100|100"], "{flavour}");
    }
}

/// How many DELETE statements the session has run.
async fn deletions(target: &mut Target) -> u64 {
    let status = query(target, "SHOW SESSION STATUS LIKE 'Com_delete'").await;
    status[0].split('|').next_back().and_then(|count| count.parse().ok()).expect("a number")
}

#[tokio::test]
async fn rows_that_someone_took_away_are_missed_in_a_purge_as_well() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("dev")));
        device.ddl("CREATE TABLE t (n INT, v VARCHAR(9), d DOUBLE)");
        let row = |n| vec![int(n), text("x"), Value::Null];
        let all: Vec<_> = (0..200).map(|n| Change::Insert(row(n))).collect();
        device.transaction(&alike_shape(), &all);
        let made = device.batch();
        apply_all(&mut target, &device.id, &[&made]).await;
        run(&mut target, &format!("UPDATE `{}__app`.t SET n=7 WHERE n=8", device.id)).await;
        let purge: Vec<_> = (0..100).map(|n| Change::Delete(row(n))).collect();
        device.transaction(&alike_shape(), &purge);
        let batch = device.batch();
        let works = [shard::work(&device.id, &[&batch])];
        let error = apply::apply(&mut target, &works).await.expect_err("a row is missing");
        assert_eq!(classify(&error.source, error.subject), Class::Data);
        assert!(error.to_string().contains("found 0 rows"), "{error}");
        target.session.reset().await.expect("resets");
        let sql = format!("SELECT COUNT(*) FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut target, &sql).await, ["200"]);
    }
}

#[tokio::test]
async fn few_copies_of_many_that_are_equal_go_without_the_others_being_written_again() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("dev")));
        device.ddl("CREATE TABLE t (n INT, v VARCHAR(9), d DOUBLE)");
        let row = vec![int(1), text("same"), Value::Null];
        device.transaction(&alike_shape(), &vec![Change::Insert(row.clone()); 3000]);
        let made = device.batch();
        apply_all(&mut target, &device.id, &[&made]).await;
        device.transaction(&alike_shape(), &vec![Change::Delete(row); 50]);
        let batch = device.batch();
        let inserts = "SHOW SESSION STATUS LIKE 'Com_insert'";
        let before = query(&mut target, inserts).await;
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!("SELECT COUNT(*) FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut target, &sql).await, ["2950"]);
        let after = query(&mut target, inserts).await;
        let count =
            |status: &[String]| status[0].rsplit('|').next().and_then(|n| n.parse::<u64>().ok());
        // The watermark's own.
        assert!(count(&after) <= count(&before).map(|count| count + 1), "{before:?}, {after:?}");
    }
}
