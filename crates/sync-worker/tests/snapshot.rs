//! Snapshots at real shards: databases, tables, chunks, and whatever stood there before.

use crate::device::{Change, Device, Range, Value, column, int, row, simple, table, text};
use crate::shard::{self, Target, apply_all, query, run, target, unique};
use tributary_sync_worker::apply;
use tributary_sync_worker::ddl;
use tributary_testkit::Flavour;
use tributary_wire::{ColumnKind, Item, Names, Position};

const SIMPLE: &str = "CREATE TABLE `t` (\n  `id` int NOT NULL,\n  `v` varchar(100),\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci";

fn names(names: &[&str]) -> Names {
    names.iter().collect()
}

fn device() -> Device {
    Device::new(&unique("snap"))
}

async fn rows(target: &mut Target, device: &Device) -> Vec<String> {
    let sql = format!("SELECT * FROM `{}__app`.t ORDER BY 1, 2", device.id);
    query(target, &sql).await
}

/// Tables and views of a device, without their database's device.
async fn objects(target: &mut Target, device: &Device) -> Vec<String> {
    let sql = format!(
        "SELECT CONCAT(SUBSTRING(table_schema, {}), '.', table_name) FROM information_schema.tables \
         WHERE table_schema LIKE '{}\\_\\_%' ORDER BY 1",
        device.id.as_str().len() + 3,
        device.id.as_str().replace('_', "\\_")
    );
    query(target, &sql).await
}

#[tokio::test]
async fn a_snapshot_of_a_new_device_makes_it_as_it_is() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.item(Item::Databases(names(&["app"])), None);
        let create = "CREATE DATABASE IF NOT EXISTS app CHARACTER SET latin1";
        device.item(Item::Statement(0), Some(create));
        device.item(Item::Tables { database: "app".into(), names: names(&["t", "w"]) }, None);
        device.define("t", SIMPLE);
        let t = simple("t");
        let upper = Some(vec![int(2)]);
        device.chunk(
            &t,
            &Range { upper: upper.clone(), ..Range::default() },
            &[row(1, "a"), row(2, "b")],
        );
        device.chunk(&t, &Range { lower: upper, ..Range::default() }, &[row(3, "c")]);
        device.item(Item::Statement(0), Some("CREATE OR REPLACE VIEW w AS SELECT t.id FROM t"));
        device.item(
            Item::Statement(0),
            Some("CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'x'"),
        );
        device.cursor(Some(("t", true)));
        let batch = device.batch();
        let row = apply_all(&mut target, &device.id, &[&batch]).await;
        assert_eq!(row.position, device.end());
        assert!(row.resume.snapshot.expect("a cursor").complete);
        assert_eq!(rows(&mut target, &device).await, ["1|a", "2|b", "3|c"]);
        assert_eq!(objects(&mut target, &device).await, ["app.t", "app.w"]);
        let sql = format!(
            "SELECT statement LIKE '%TRIGGER%' FROM {}.routine WHERE device_id='{}'",
            target.database, device.id
        );
        assert_eq!(query(&mut target, &sql).await, ["1"]);
        // What the log tells next goes on from there.
        device.insert(&t, crate::device::row(4, "d"));
        device.cursor(None);
        let batch = device.batch();
        let row = apply_all(&mut target, &device.id, &[&batch]).await;
        assert_eq!((row.position, row.resume.snapshot), (device.end(), None));
        assert_eq!(rows(&mut target, &device).await.len(), 4);
    }
}

#[tokio::test]
async fn what_the_device_no_longer_has_goes_and_other_devices_keep_theirs() {
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        let id = unique("snap_x");
        let mut devices =
            [id.clone(), format!("{id}y"), id.replace('_', "-")].map(|id| Device::new(&id));
        for device in &mut devices {
            for sql in [
                "CREATE TABLE t (id INT PRIMARY KEY)",
                "CREATE TABLE gone (id INT PRIMARY KEY)",
                "CREATE VIEW old AS SELECT t.id FROM t",
                "CREATE TABLE other.u (id INT PRIMARY KEY)",
                "CREATE TABLE other.`T` (id INT PRIMARY KEY, u INT, FOREIGN KEY (u) REFERENCES other.u (id))",
                "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1",
            ] {
                device.ddl(sql);
            }
            let batch = device.batch();
            apply_all(&mut target, &device.id, &[&batch]).await;
        }
        let everything = objects(&mut target, &devices[1]).await;
        let [device, near, nearer] = &mut devices;
        device.item(Item::Databases(names(&["app"])), None);
        device.item(Item::Tables { database: "app".into(), names: names(&["t"]) }, None);
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        assert_eq!(objects(&mut target, device).await, ["app.t"]);
        for other in [near, nearer] {
            assert_eq!(objects(&mut target, other).await, everything);
        }
        let sql = format!("SELECT COUNT(*) FROM {}.routine", target.database);
        assert_eq!(query(&mut target, &sql).await, ["2"]);
    }
}

/// A table with all that has a name of its own in a database.
fn full(more: &str) -> String {
    format!(
        "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `p` int DEFAULT NULL,\n  \
         `g` int GENERATED ALWAYS AS (`p` * 2) STORED,\n  `v` varchar(20) DEFAULT 'x'{more},\n  \
         PRIMARY KEY (`id`),\n  KEY `by_p` (`p`),\n  \
         CONSTRAINT `fk` FOREIGN KEY (`p`) REFERENCES `parent` (`id`),\n  \
         CONSTRAINT `positive` CHECK (`p` > 0)\n) ENGINE=InnoDB AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4 \
         COLLATE=utf8mb4_unicode_ci COMMENT='a table'"
    )
}

#[tokio::test]
async fn a_table_that_is_as_it_should_be_keeps_its_rows_and_another_is_made_anew() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        let count = |device: &Device| {
            format!("SELECT COUNT(*), MAX(CASE WHEN id>0 THEN 1 END) FROM `{}__app`.t", device.id)
        };
        device.define("t", &full(""));
        device.define("parent", "CREATE TABLE `parent` (`id` int NOT NULL, PRIMARY KEY (`id`))");
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        run(&mut target, &format!("INSERT INTO `{}__app`.t (p) VALUES (1), (2)", device.id)).await;
        device.define("t", &full(""));
        let same = device.batch();
        apply_all(&mut target, &device.id, &[&same]).await;
        assert_eq!(query(&mut target, &count(&device)).await, ["2|1"], "{flavour}");
        device.define("t", &full(" COMMENT 'new'"));
        let other = device.batch();
        let row = apply_all(&mut target, &device.id, &[&other]).await;
        assert_eq!(row.shape_generation, 4);
        assert_eq!(query(&mut target, &count(&device)).await, ["0|~"], "{flavour}");
        assert_eq!(objects(&mut target, &device).await, ["app.parent", "app.t"], "{flavour}");
    }
}

#[tokio::test]
async fn partitions_and_a_table_that_was_a_view_are_defined_as_well() {
    const PARTS: &str = "CREATE TABLE `t` (`id` int NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB \
                         PARTITION BY RANGE (`id`) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN MAXVALUE)";
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.define("x", "CREATE TABLE x (id INT PRIMARY KEY)");
        device.item(Item::Statement(0), Some("CREATE OR REPLACE VIEW t AS SELECT x.id FROM x"));
        for _ in 0..2 {
            device.define("t", PARTS);
        }
        device.item(Item::Statement(0), Some("CREATE OR REPLACE VIEW x AS SELECT t.id FROM t"));
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!(
            "SELECT table_name, table_type, create_options LIKE '%partitioned%' FROM information_schema.tables \
             WHERE table_schema='{}__app' ORDER BY 1",
            device.id
        );
        let found = query(&mut target, &sql).await;
        assert!(
            found[0].starts_with("t|BASE TABLE|1") && found[1].starts_with("x|VIEW"),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_definition_that_a_crash_cut_off_anywhere_is_made_again() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.define("t", SIMPLE);
        device.chunk(&simple("t"), &Range::default(), &[row(1, "a")]);
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        device.define("t", &SIMPLE.replace("100", "50"));
        device.chunk(&simple("t"), &Range::default(), &[row(2, "b")]);
        let batch = device.batch();
        let works = [shard::work(&device.id, &[&batch])];
        let outcomes = apply::apply(&mut target, &works).await.expect("applies");
        let barrier = outcomes.into_iter().next().and_then(|one| one.pass.barrier).expect("stops");
        // It dies after everything but the watermark, then between the drop and the making, leaving its
        // trial behind.
        ddl::execute(&mut target, &device.id, &barrier).await.expect("runs");
        let id = device.id.clone();
        run(&mut target, &format!("DROP TABLE `{id}__app`.t")).await;
        run(&mut target, &format!("CREATE DATABASE `{id}___tributary_trial`")).await;
        run(&mut target, &format!("CREATE TABLE `{id}___tributary_trial`.t (x INT)")).await;
        let mut successor = shard::connect(shard::server(flavour), &target.database).await;
        apply_all(&mut successor, &id, &[&batch]).await;
        device.item(Item::Databases(names(&["app"])), None);
        let batch = device.batch();
        apply_all(&mut successor, &id, &[&batch]).await;
        assert_eq!(rows(&mut successor, &device).await, ["2|b"]);
        assert_eq!(objects(&mut successor, &device).await, ["app.t"]);
    }
}

#[tokio::test]
async fn a_chunk_replaces_its_range_but_for_the_keys_that_are_kept() {
    const DDL: &str = "CREATE TABLE t (k VARCHAR(20), n INT, v VARCHAR(20), PRIMARY KEY (k, n)) \
                       CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    let columns = vec![
        column("k", ColumnKind::Text),
        column("n", ColumnKind::Integer),
        column("v", ColumnKind::Text),
    ];
    let t = table("t", columns, 2);
    let key = |k: &str, n: i64| vec![text(k), int(n)];
    let full = |k: &str, n: i64, v: &str| vec![text(k), int(n), text(v)];
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.ddl(DDL);
        let old = [("a", 1), ("a", 2), ("B", 1), ("b", 2), ("b", 3), ("c", 0), ("c", 5), ("d", 1)];
        let changes: Vec<Change> =
            old.iter().map(|(k, n)| Change::Insert(full(k, *n, "old"))).collect();
        device.transaction(&t, &changes);
        let log = device.batch();
        let kept = [key("b", 2)];
        let range = Range {
            lower: Some(key("A", 1)),
            upper: Some(key("c", 0)),
            kept: &kept,
            append: false,
        };
        device.chunk(&t, &range, &[full("a", 9, "new"), full("b", 1, "new")]);
        let chunk = device.batch();
        apply_all(&mut target, &device.id, &[&log, &chunk]).await;
        assert_eq!(
            rows(&mut target, &device).await,
            ["a|1|old", "a|9|new", "b|1|new", "b|2|old", "c|5|old", "d|1|old"],
            "{flavour}"
        );
        let sql = format!(
            "EXPLAIN FORMAT=TRADITIONAL DELETE FROM `{}__app`.t WHERE k>='A' AND (k>'A' OR (k='A' AND (n>1)))",
            device.id
        );
        let plan = query(&mut target, &sql).await.join("");
        assert!(plan.contains("range"), "{flavour}: {plan}");
    }
}

#[tokio::test]
async fn rows_and_chunks_of_a_pass_keep_their_order() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        let t = simple("t");
        device.ddl(SIMPLE);
        let ddl = device.batch();
        apply_all(&mut target, &device.id, &[&ddl]).await;
        device
            .transaction(&t, &[Change::Insert(row(1, "before")), Change::Insert(row(2, "before"))]);
        let before = device.batch();
        device.chunk(&t, &Range::default(), &[row(2, "chunk"), row(3, "chunk")]);
        let chunk = device.batch();
        device.transaction(
            &t,
            &[Change::Update(row(3, "chunk"), row(3, "behind")), Change::Delete(row(2, "chunk"))],
        );
        let behind = device.batch();
        let row =
            apply_all(&mut target, &device.id, &[&before, &chunk, &chunk, &behind, &before]).await;
        assert_eq!(row.position, device.end());
        assert_eq!(rows(&mut target, &device).await, ["3|behind"], "{flavour}");
    }
}

#[tokio::test]
async fn unique_values_that_move_during_a_snapshot_end_as_at_the_source() {
    const DDL: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), w INT, UNIQUE (v), UNIQUE (w)) COLLATE utf8mb4_general_ci";
    let columns = vec![
        column("id", ColumnKind::Integer),
        column("v", ColumnKind::Text),
        column("w", ColumnKind::Integer),
    ];
    let t = table("t", columns, 1);
    let r = |id: i64, v: &str, w: i64| vec![int(id), text(v), int(w)];
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.ddl(DDL);
        let old: Vec<Change> =
            (1..=6).map(|id| Change::Insert(r(id, &format!("v{id}"), id))).collect();
        device.transaction(&t, &old);
        let first = device.batch();
        apply_all(&mut target, &device.id, &[&first]).await;
        // A copy is taken again: 1 and 5 have swapped, 2 has what 4 had, 4 has what 6 had, 6 is gone.
        device.cursor(Some(("t", false)));
        device.chunk(
            &t,
            &Range { upper: Some(vec![int(3)]), ..Range::default() },
            &[r(1, "v5", 5), r(2, "v4", 4), r(3, "v3", 3)],
        );
        let low = device.batch();
        apply_all(&mut target, &device.id, &[&low]).await;
        // The log changes a row that is not copied yet to what a stale one holds.
        device.transaction(
            &t,
            &[Change::Update(r(4, "v6", 6), r(4, "v6", 60)), Change::Insert(r(7, "v7", 6))],
        );
        let log = device.batch();
        apply_all(&mut target, &device.id, &[&log]).await;
        let kept = [vec![int(7)]];
        let rest = Range { lower: Some(vec![int(3)]), kept: &kept, ..Range::default() };
        device.chunk(&t, &rest, &[r(4, "v6", 60), r(5, "v1", 1)]);
        device.cursor(None);
        let high = device.batch();
        apply_all(&mut target, &device.id, &[&high]).await;
        assert_eq!(
            rows(&mut target, &device).await,
            ["1|v5|5", "2|v4|4", "3|v3|3", "4|v6|60", "5|v1|1", "7|v7|6"],
            "{flavour}"
        );
        // Nothing old is left, so a value that is there twice is an error again.
        device.insert(&t, r(9, "v7", 9));
        let batch = device.batch();
        let works = [shard::work(&device.id, &[&batch])];
        apply::apply(&mut target, &works).await.expect_err("a value that is there twice");
    }
}

#[tokio::test]
async fn a_table_without_a_key_is_copied_whole_in_any_number_of_chunks() {
    let columns = vec![column("a", ColumnKind::Integer), column("e", ColumnKind::Enum)];
    let t = table("t", columns, 0);
    let r = |a: i64, e: i64| vec![if a == 0 { Value::Null } else { int(a) }, int(e)];
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.ddl("CREATE TABLE t (a INT, e ENUM('x','y'))");
        device.transaction(&t, &[Change::Insert(r(9, 1)), Change::Insert(r(9, 1))]);
        let log = device.batch();
        apply_all(&mut target, &device.id, &[&log]).await;
        device.chunk(&t, &Range::default(), &[r(1, 1), r(1, 1), r(0, 0)]);
        device.chunk(&t, &Range { append: true, ..Range::default() }, &[r(2, 2), r(0, 2)]);
        let chunks = device.batch();
        apply_all(&mut target, &device.id, &[&chunks, &chunks]).await;
        device.transaction(&t, &[Change::Delete(r(1, 1))]);
        let log = device.batch();
        apply_all(&mut target, &device.id, &[&chunks, &log]).await;
        assert_eq!(rows(&mut target, &device).await, ["~|", "~|y", "1|x", "2|y"], "{flavour}");
    }
}

#[tokio::test]
async fn a_new_server_goes_on_in_an_epoch_of_its_own_and_the_old_ones_batches_are_duplicates() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        let t = simple("t");
        device.ddl(SIMPLE);
        device.insert(&t, row(1, "old"));
        let first = device.batch();
        device.insert(&t, row(2, "late"));
        let late = device.batch();
        let at = apply_all(&mut target, &device.id, &[&first]).await;
        let id = device.id.as_str();
        let on =
            |run| Device::on_server(id, "source-b", "9.7.0", run, at.resume.clone(), at.position);
        // One that goes on from elsewhere has proven nothing of what lies between.
        let elsewhere = Position::boundary(1, 1, 1004);
        let mut off = Device::on_server(id, "source-b", "9.7.0", 8, at.resume.clone(), elsewhere);
        off.new_epoch();
        off.insert(&t, row(9, "elsewhere"));
        let off = off.batch();
        assert_eq!(apply_all(&mut target, &device.id, &[&off]).await, at);
        let mut next = on(2);
        next.new_epoch();
        next.insert(&t, row(3, "new"));
        let new = next.batch();
        let row = apply_all(&mut target, &device.id, &[&new, &late, &first]).await;
        assert_eq!((row.source.as_str(), row.position.epoch), ("source-b", 2));
        assert_eq!(rows(&mut target, &device).await, ["1|old", "3|new"], "{flavour}");
        // In the epoch that is there, another server still parks the device.
        let mut other =
            Device::on_server(id, "source-c", "9.7.0", 3, row.resume.clone(), row.position);
        other.insert(&t, crate::device::row(4, "x"));
        let batch = other.batch();
        let parked = shard::parked(&mut target, &device.id, &[&batch]).await;
        assert!(parked.reason.contains("another server"), "{}", parked.reason);
    }
}

#[tokio::test]
async fn a_new_server_without_a_common_past_is_copied_anew() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, device());
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "old"));
        let first = device.batch();
        let at = apply_all(&mut target, &device.id, &[&first]).await;
        let id = device.id.as_str();
        let mut next =
            Device::on_server(id, "source-b", "9.7.0", 2, at.resume.clone(), at.position);
        next.new_epoch();
        next.cursor(Some(("", false)));
        // The new epoch's log begins, then the copy of every table at that place.
        next.begin();
        next.commit();
        let mark = next.batch();
        next.item(Item::Databases(names(&["app"])), None);
        next.item(Item::Tables { database: "app".into(), names: names(&["t"]) }, None);
        next.define("t", SIMPLE);
        next.chunk(&simple("t"), &Range::default(), &[row(2, "new")]);
        next.cursor(None);
        let copy = next.batch();
        let row = apply_all(&mut target, &device.id, &[&mark, &first, &copy, &copy, &first]).await;
        assert_eq!((row.position, row.resume.snapshot), (next.end(), None));
        assert_eq!(rows(&mut target, &next).await, ["2|new"], "{flavour}");
    }
}

#[tokio::test]
async fn a_range_of_keys_of_any_type_is_exactly_that_range() {
    let datetime = |day: i64| int((((2024 * 13 + 1) << 5 | day) << 17) << 24);
    let keys: Vec<(&str, ColumnKind, [Value; 4])> = vec![
        ("INT", ColumnKind::Integer, [int(-5), int(0), int(7), int(9)]),
        ("DECIMAL(10,2)", ColumnKind::Decimal, ["-1.50", "0.00", "0.10", "10.00"].map(text)),
        ("FLOAT", ColumnKind::Float, [-0.1, 0.1, 0.2, 16_777_216.0].map(Value::F32)),
        ("DOUBLE", ColumnKind::Double, [-0.1, 0.1, 0.3, 1e300].map(Value::F64)),
        ("DATE", ColumnKind::Date, [0, 1, 2, 3].map(|d| int(2024 << 9 | 1 << 5 | d))),
        ("TIME", ColumnKind::Time, [-7, 0, 7, 90].map(|s| int(s * 1_000_000))),
        ("DATETIME", ColumnKind::DateTime, [1, 2, 10, 30].map(datetime)),
        ("TIMESTAMP", ColumnKind::Timestamp, [0, 1, 20, 300].map(|s| int(s * 1_000_000))),
        ("BIT(40)", ColumnKind::Bit, [0, 2, 10, 1 << 39].map(Value::UInt)),
        ("YEAR", ColumnKind::Year, [0, 1901, 2000, 2155].map(int)),
        ("ENUM('z','y','x','a')", ColumnKind::Enum, [1, 2, 3, 4].map(int)),
        ("SET('z','y','x')", ColumnKind::Set, [1, 2, 4, 5].map(Value::UInt)),
        ("VARBINARY(9)", ColumnKind::Binary, ["A", "B", "a", "b"].map(text)),
        ("VARCHAR(9)", ColumnKind::Text, ["a", "B", "ç", "D'"].map(text)),
    ];
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        for (sort, kind, [a, b, c, d]) in &keys {
            let mut device = device();
            device.ddl(&format!(
                "CREATE TABLE t (k {sort}, v INT, PRIMARY KEY (k)) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
            ));
            let columns = vec![column("k", *kind), column("v", ColumnKind::Integer)];
            let t = table("t", columns, 1);
            let with = |key: &Value, v: i64| vec![key.clone(), int(v)];
            let old = [with(a, 1), with(b, 2), with(c, 3), with(d, 4)];
            device.transaction(&t, &old.map(Change::Insert));
            let log = device.batch();
            let range = Range {
                lower: Some(vec![a.clone()]),
                upper: Some(vec![c.clone()]),
                ..Range::default()
            };
            device.chunk(&t, &range, &[with(c, 30)]);
            let chunk = device.batch();
            apply_all(&mut target, &device.id, &[&log, &chunk]).await;
            let sql = format!("SELECT v FROM `{}__app`.t ORDER BY v", device.id);
            assert_eq!(query(&mut target, &sql).await, ["1", "4", "30"], "{flavour} {sort}");
            let kept = [vec![d.clone()]];
            device.chunk(&t, &Range { kept: &kept, ..Range::default() }, &[]);
            let rest = device.batch();
            apply_all(&mut target, &device.id, &[&rest]).await;
            assert_eq!(query(&mut target, &sql).await, ["4"], "{flavour} {sort}");
        }
    }
}
