//! Rows: the chain at a real shard, net effects, tables with and without keys.

use crate::device::{ANCHOR, Change, Device, Value, column, int, row, simple, table, text};
use crate::shard::{self, apply_all, query, run, settle, target, unique};
use tributary_sync_worker::apply;
use tributary_testkit::Flavour;
use tributary_wire::ColumnKind;

fn device() -> Device {
    Device::new(&unique("dev"))
}

async fn with_table(flavour: Flavour, ddl: &str) -> (shard::Target, Device) {
    let (mut target, mut device) = (target(flavour).await, device());
    device.ddl(ddl);
    let batch = device.batch();
    apply_all(&mut target, &device.id, &[&batch]).await;
    (target, device)
}

const SIMPLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARACTER SET utf8mb4";

#[tokio::test]
async fn duplicates_overlaps_and_gaps_leave_the_source_state() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, SIMPLE).await;
        let (t, id) = (simple("t"), device.id.clone());
        device.insert(&t, row(1, "one"));
        let first = device.batch();
        device.insert(&t, row(2, "two"));
        let second = device.batch();
        device.insert(&t, row(3, "three"));
        let third = device.batch();
        let start = apply_all(&mut target, &id, &[&first]).await;

        // Beyond the watermark: nothing is applied.
        let gap = apply_all(&mut target, &id, &[&third]).await;
        assert_eq!(gap, start);
        let end = apply_all(&mut target, &id, &[&first, &second, &second, &third, &first]).await;
        assert_eq!(end.position, device.end());
        assert_eq!((end.resume.position, end.resume.anchor), (device.end(), Some(ANCHOR)));
        let sql = format!("SELECT id, v FROM `{id}__app`.t ORDER BY id");
        assert_eq!(query(&mut target, &sql).await, ["1|one", "2|two", "3|three"]);
    }
}

#[tokio::test]
async fn a_transaction_that_was_cut_is_continued_and_its_overlap_skipped() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, "CREATE TABLE t (a INT, b INT)").await;
        let columns = vec![column("a", ColumnKind::Integer), column("b", ColumnKind::Integer)];
        let (t, id) = (table("t", columns, 0), device.id.clone());
        device.begin();
        for a in 0..3 {
            device.change(&t, &Change::Insert(vec![int(a), int(1)]));
        }
        let first = device.batch();
        let cut = apply_all(&mut target, &id, &[&first]).await;
        assert_eq!(cut.position.changes(), 3);
        for a in 3..5 {
            device.change(&t, &Change::Insert(vec![int(a), int(1)]));
        }
        device.commit();
        let second = device.batch();
        apply_all(&mut target, &id, &[&first, &second, &second]).await;
        let sql = format!("SELECT a FROM `{id}__app`.t ORDER BY a");
        assert_eq!(query(&mut target, &sql).await, ["0", "1", "2", "3", "4"]);
    }
}

#[tokio::test]
async fn a_key_that_moves_and_values_that_swap_end_as_at_the_source() {
    const DDL: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100), UNIQUE (v)) COLLATE utf8mb4_general_ci";
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, DDL).await;
        let (t, id) = (simple("t"), device.id.clone());
        device.transaction(
            &t,
            &[
                Change::Insert(row(1, "a")),
                Change::Insert(row(2, "b")),
                Change::Insert(row(3, "c")),
            ],
        );
        let first = device.batch();
        apply_all(&mut target, &id, &[&first]).await;
        // A swap of two unique values over a third, a moved key, a row gone and come back.
        device.transaction(
            &t,
            &[
                Change::Update(row(1, "a"), row(1, "tmp")),
                Change::Update(row(2, "b"), row(2, "a")),
                Change::Update(row(1, "tmp"), row(1, "b")),
                Change::Update(row(3, "c"), row(30, "c")),
                Change::Delete(row(2, "a")),
                Change::Insert(row(2, "again")),
            ],
        );
        let second = device.batch();
        apply_all(&mut target, &id, &[&second]).await;
        let sql = format!("SELECT id, v FROM `{id}__app`.t ORDER BY id");
        assert_eq!(query(&mut target, &sql).await, ["1|b", "2|again", "30|c"]);
    }
}

#[tokio::test]
async fn keys_that_only_a_collation_tells_are_one_row() {
    const DDL: &str = "CREATE TABLE t (k VARCHAR(20) PRIMARY KEY, v INT) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, DDL).await;
        let columns = vec![column("k", ColumnKind::Text), column("v", ColumnKind::Integer)];
        let (t, id) = (table("t", columns, 1), device.id.clone());
        let key = |k: &str, v| vec![text(k), int(v)];
        device.transaction(&t, &[Change::Insert(key("a", 1)), Change::Insert(key("ß", 2))]);
        device.transaction(
            &t,
            &[Change::Update(key("a", 1), key("A", 3)), Change::Update(key("ß", 2), key("s", 4))],
        );
        let batch = device.batch();
        apply_all(&mut target, &id, &[&batch]).await;
        device.transaction(&t, &[Change::Delete(key("A", 3)), Change::Insert(key("a", 5))]);
        let batch = device.batch();
        apply_all(&mut target, &id, &[&batch]).await;
        let sql = format!("SELECT k, v FROM `{id}__app`.t ORDER BY v");
        assert_eq!(query(&mut target, &sql).await, ["s|4", "a|5"]);
    }
}

#[tokio::test]
async fn a_table_without_a_key_keeps_every_one_of_its_equal_rows() {
    const DDL: &str = "CREATE TABLE t (a INT, f FLOAT, d DOUBLE, s VARCHAR(20), n DECIMAL(10,2), e ENUM('x','y')) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, DDL).await;
        let columns = vec![
            column("a", ColumnKind::Integer),
            column("f", ColumnKind::Float),
            column("d", ColumnKind::Double),
            column("s", ColumnKind::Text),
            column("n", ColumnKind::Decimal),
            column("e", ColumnKind::Enum),
        ];
        let (t, id) = (table("t", columns, 0), device.id.clone());
        let r = |a: Value, s: &str| {
            vec![a, Value::F32(0.1), Value::F64(1.0 / 3.0), text(s), text("12.50"), int(2)]
        };
        device.transaction(
            &t,
            &[
                Change::Insert(r(int(1), "x")),
                Change::Insert(r(int(1), "x")),
                Change::Insert(r(int(1), "X")),
                Change::Insert(r(Value::Null, "x ")),
                Change::Insert(r(Value::Null, "x")),
            ],
        );
        // Only the exact row may be hit: not another case, not other blanks, NULL equal to NULL.
        device.transaction(
            &t,
            &[
                Change::Delete(r(int(1), "x")),
                Change::Update(r(Value::Null, "x"), r(int(7), "y")),
                Change::Update(r(int(1), "X"), r(int(1), "Z")),
            ],
        );
        let batch = device.batch();
        apply_all(&mut target, &id, &[&batch]).await;
        let sql = format!("SELECT a, CONCAT(s, '.') FROM `{id}__app`.t ORDER BY a, s");
        assert_eq!(query(&mut target, &sql).await, ["~|x .", "1|x.", "1|Z.", "7|y."]);

        // A row that is not there parks the device, and leaves the rest of the transaction undone.
        device.transaction(&t, &[Change::Insert(r(int(9), "n")), Change::Delete(r(int(99), "q"))]);
        let batch = device.batch();
        let works = [shard::work(&id, &[&batch])];
        let error = apply::apply(&mut target, &works).await.expect_err("refused");
        assert_eq!(error.owner, Some(0));
        assert!(error.to_string().contains("found 0 rows"), "{error}");
        run(&mut target, "ROLLBACK").await;
        let sql = format!("SELECT COUNT(*) FROM `{id}__app`.t");
        assert_eq!(query(&mut target, &sql).await, ["4"]);
    }
}

#[tokio::test]
async fn generated_columns_are_not_written_and_extra_columns_keep_their_default() {
    const DDL: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100), \
                       g INT AS (id * 2) STORED, w INT AS (id + 1) VIRTUAL) CHARACTER SET utf8mb4";
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, DDL).await;
        let id = device.id.clone();
        run(&mut target, &format!("ALTER TABLE `{id}__app`.t ADD extra INT DEFAULT 5")).await;
        let columns = vec![
            column("id", ColumnKind::Integer),
            column("v", ColumnKind::Text),
            column("g", ColumnKind::Integer),
            column("w", ColumnKind::Integer),
        ];
        let t = table("t", columns, 1);
        device.insert(&t, vec![int(1), text("a"), int(2), int(2)]);
        let batch = device.batch();
        apply_all(&mut target, &id, &[&batch]).await;
        let sql = format!("SELECT * FROM `{id}__app`.t");
        assert_eq!(query(&mut target, &sql).await, ["1|a|2|2|5"]);
    }
}

#[tokio::test]
async fn many_devices_share_a_transaction_and_new_ones_get_their_row() {
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        let mut devices: Vec<Device> = (0..20).map(|_| device()).collect();
        let batches: Vec<_> = devices
            .iter_mut()
            .map(|device| {
                device.ddl(SIMPLE);
                device.batch()
            })
            .collect();
        for (device, batch) in devices.iter().zip(&batches) {
            apply_all(&mut target, &device.id, &[batch]).await;
        }
        let batches: Vec<_> = devices
            .iter_mut()
            .map(|device| {
                device.insert(&simple("t"), row(1, "x"));
                device.batch()
            })
            .collect();
        let works: Vec<_> =
            devices.iter().zip(&batches).map(|(d, b)| shard::work(&d.id, &[b])).collect();
        let outcomes = apply::apply(&mut target, &works).await.expect("applies");
        assert!(outcomes.iter().all(|outcome| outcome.pass.tally.rows == 1));
        for device in &devices {
            let sql = format!("SELECT COUNT(*) FROM `{}__app`.t", device.id);
            assert_eq!(query(&mut target, &sql).await, ["1"]);
        }
    }
}

#[tokio::test]
async fn another_server_behind_a_device_id_parks_it_and_changes_nothing() {
    let (mut target, mut device) = with_table(Flavour::MariaDb, SIMPLE).await;
    let id = device.id.clone();
    device.insert(&simple("t"), row(1, "mine"));
    let batch = device.batch();
    let before = apply_all(&mut target, &id, &[&batch]).await;
    let mut other = Device::with_source(id.as_str(), "source-b", 2);
    other.ddl("CREATE TABLE u (id INT PRIMARY KEY)");
    let stale = other.batch();
    let unmoved = settle(&mut target, &id, &[&stale]).await.expect("a row");
    assert_eq!(unmoved, before, "what lies behind the watermark is dropped whoever sent it");
    for table in ["v", "w"] {
        other.ddl(&format!("CREATE TABLE {table} (id INT PRIMARY KEY)"));
    }
    let batch = other.batch();
    let after = settle(&mut target, &id, &[&batch]).await.expect("a row");
    assert_eq!(after.position, before.position);
    let parked = after.parked.expect("parked");
    assert!(parked.reason.contains("another server") && !parked.remedy.is_empty());
}

#[tokio::test]
async fn a_missing_table_or_column_parks_with_its_name() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = with_table(flavour, SIMPLE).await;
        let id = device.id.clone();
        device.insert(&simple("nowhere"), row(1, "x"));
        let batch = device.batch();
        let parked = shard::parked(&mut target, &id, &[&batch]).await;
        assert!(parked.reason.contains(&format!("{id}__app.nowhere")), "{}", parked.reason);

        let (mut target, mut device) = with_table(flavour, SIMPLE).await;
        let columns = vec![column("id", ColumnKind::Integer), column("lost", ColumnKind::Integer)];
        device.insert(&table("t", columns, 1), vec![int(1), int(2)]);
        let batch = device.batch();
        let parked = shard::parked(&mut target, &device.id, &[&batch]).await;
        assert!(parked.reason.contains("column lost"), "{}", parked.reason);
        assert!(parked.remedy.contains("add the column"), "{}", parked.remedy);
    }
}

#[tokio::test]
async fn names_beyond_ascii_and_names_that_need_quotes_are_the_same_at_the_target() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        let id = device.id.clone();
        device.ddl("CREATE TABLE `设备 表` (`编号` INT PRIMARY KEY, `a``b ü` VARCHAR(20), UNIQUE (`a``b ü`))");
        let columns = vec![column("编号", ColumnKind::Integer), column("a`b ü", ColumnKind::Text)];
        let t = table("设备 表", columns, 1);
        device.insert(&t, vec![int(1), text("eins")]);
        device.ddl("ALTER TABLE `设备 表` ADD `größe` INT DEFAULT 3, COMMENT='注释'");
        device.transaction(
            &t,
            &[Change::Update(vec![int(1), text("eins")], vec![int(1), text("二")])],
        );
        let batch = device.batch();
        apply_all(&mut target, &id, &[&batch]).await;
        let sql = format!("SELECT `编号`, `a``b ü`, `größe` FROM `{id}__app`.`设备 表`");
        assert_eq!(query(&mut target, &sql).await, ["1|二|3"], "{flavour}");
        let sql = format!(
            "SELECT table_comment FROM information_schema.tables WHERE table_schema='{id}__app'"
        );
        assert_eq!(query(&mut target, &sql).await, ["注释"], "{flavour}");
    }
}

#[tokio::test]
async fn a_date_in_a_key_that_moves_with_updates_stays_as_the_device_has_it() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.ddl(
            "CREATE TABLE t (id INT, at DATETIME ON UPDATE CURRENT_TIMESTAMP, v INT, PRIMARY KEY (id, at))",
        );
        let kinds = [ColumnKind::Integer, ColumnKind::DateTime, ColumnKind::Integer];
        let columns = ["id", "at", "v"].into_iter().zip(kinds);
        let t = table("t", columns.map(|(name, kind)| column(name, kind)).collect(), 2);
        let day = |v| vec![int(1), int((((2024 * 13 + 1) << 5 | 2) << 17) << 24), int(v)];
        device.transaction(&t, &[Change::Insert(day(1))]);
        let first = device.batch();
        apply_all(&mut target, &device.id, &[&first]).await;
        device.transaction(&t, &[Change::Update(day(1), day(2))]);
        let second = device.batch();
        apply_all(&mut target, &device.id, &[&second]).await;
        let sql = format!("SELECT id, CAST(at AS CHAR), v FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut target, &sql).await, ["1|2024-01-02 00:00:00|2"], "{flavour}");
    }
}
