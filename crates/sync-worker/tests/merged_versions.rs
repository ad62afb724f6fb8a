//! What versions of an application may differ in, in the layout `merged`.

use crate::device::{Change, Device, Value, column, int, row, simple, table, text};
use crate::merged::{SIMPLE, ddl, device, release, rows, settled, target};
use crate::shard::{self, Target, apply_all, run};
use tributary_sync_worker::watermark::Parked;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, ColumnKind, ColumnShape};

#[tokio::test]
async fn the_constraints_of_one_version_do_not_bind_another() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut strict, mut lax) = (device(), device());
        ddl(
            &mut target,
            &mut strict,
            &[
                "CREATE TABLE p (id INT PRIMARY KEY)",
                "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100) NOT NULL UNIQUE, \
                 n INT NOT NULL DEFAULT 5, CHECK (n < 9), \
                 CONSTRAINT fk FOREIGN KEY (n) REFERENCES p (id)) CHARSET utf8mb4",
            ],
        )
        .await;
        ddl(
            &mut target,
            &mut lax,
            &["CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARSET utf8mb4"],
        )
        .await;
        let t = simple("t");
        let null = vec![int(0), Value::Null];
        lax.transaction(&t, &[row(10, "a"), row(11, "a"), null].map(Change::Insert));
        settled(&mut target, &mut lax).await;
        let columns = vec![
            column("id", ColumnKind::Integer),
            column("v", ColumnKind::Text),
            column("n", ColumnKind::Integer),
        ];
        strict.insert(&table("t", columns, 1), vec![int(1), text("a"), int(3)]);
        settled(&mut target, &mut strict).await;
        let t = format!("{app}.t");
        let found = rows(&mut target, &lax, "id, v, n", &t).await;
        assert_eq!(found, ["0|~|~", "10|a|~", "11|a|~"], "{flavour}");
        assert_eq!(rows(&mut target, &strict, "id, v, n", &t).await, ["1|a|3"], "{flavour}");
    }
}

#[tokio::test]
async fn a_unique_index_stands_for_the_key_that_a_table_lacks() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut devices = [device(), device()];
        let own = |name: &str| ColumnShape { nullable: false, ..column(name, ColumnKind::Integer) };
        let t = table("t", vec![own("a"), own("b")], 1);
        for device in &mut devices {
            ddl(
                &mut target,
                device,
                &["CREATE TABLE t (a INT NOT NULL UNIQUE, b INT NOT NULL UNIQUE)"],
            )
            .await;
            let row = |a, b| vec![int(a), int(b)];
            device.transaction(&t, &[Change::Insert(row(1, 1)), Change::Insert(row(2, 2))]);
            settled(&mut target, device).await;
            let swap = [
                Change::Update(row(1, 1), row(1, 3)),
                Change::Update(row(2, 2), row(2, 1)),
                Change::Update(row(1, 3), row(1, 2)),
            ];
            device.transaction(&t, &swap);
        }
        settled(&mut target, &mut devices[0]).await;
        let t = format!("{app}.t");
        assert_eq!(rows(&mut target, &devices[0], "a, b", &t).await, ["1|2", "2|1"], "{flavour}");
        assert_eq!(rows(&mut target, &devices[1], "a, b", &t).await, ["1|1", "2|2"], "{flavour}");
    }
}

#[tokio::test]
async fn a_generated_column_is_computed_where_its_table_is_shared() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut with, mut without) = (device(), device());
        ddl(
            &mut target,
            &mut with,
            &[
                "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARSET utf8mb4",
                "ALTER TABLE t ADD g VARCHAR(120) CHARSET utf8mb4 AS (CONCAT(v, '(,) ', id)) STORED",
            ],
        )
        .await;
        ddl(
            &mut target,
            &mut without,
            &["CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARSET utf8mb4"],
        )
        .await;
        without.insert(&simple("t"), vec![int(1), Value::Null]);
        with.insert(&simple("t"), row(2, "x"));
        settled(&mut target, &mut without).await;
        settled(&mut target, &mut with).await;
        // The same once more finds nothing to do.
        ddl(&mut target, &mut with, &["ALTER TABLE t COMMENT 'again'"]).await;
        let t = format!("{app}.t");
        assert_eq!(rows(&mut target, &with, "id, v, g", &t).await, ["2|x|x(,) 2"], "{flavour}");
        assert_eq!(rows(&mut target, &without, "id, v", &t).await, ["1|~"], "{flavour}");
    }
}

#[tokio::test]
async fn names_members_and_expressions_beyond_ascii_are_the_devices() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut devices = [device(), device()];
        for device in &mut devices {
            ddl(
                &mut target,
                device,
                &["CREATE TABLE `größe` (id INT PRIMARY KEY, `é` ENUM('à','\\\\','/*') CHARACTER SET latin1, \
                   g VARCHAR(20) CHARACTER SET utf8mb4 AS (CONCAT(`é`, '!')) STORED)"],
            )
            .await;
            let columns = vec![
                column("id", ColumnKind::Integer),
                column("é", ColumnKind::Enum),
                column("g", ColumnKind::Text),
            ];
            let t = table("größe", columns, 1);
            for member in 1..=3 {
                device.insert(&t, vec![int(member), int(member), text("computed")]);
            }
            settled(&mut target, device).await;
        }
        // One device's list becomes longer.
        ddl(
            &mut target,
            &mut devices[0],
            &["ALTER TABLE `größe` MODIFY `é` ENUM('à','\\\\','/*','ñ') CHARACTER SET latin1"],
        )
        .await;
        let t = format!("{app}.`größe`");
        for device in &devices {
            let columns = "id, CONVERT(`é` USING utf8mb4), CONVERT(g USING utf8mb4)";
            let found = rows(&mut target, device, columns, &t).await;
            assert_eq!(found, ["1|à|à!", "2|\\|\\!", "3|/*|/*!"], "{flavour}");
        }
    }
}

#[tokio::test]
async fn an_expression_that_cannot_be_read_back_parks() {
    const LATIN: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET latin1, \
                         g VARCHAR(20) CHARACTER SET latin1 AS (CONCAT(v, 'ß')) STORED)";
    for flavour in Flavour::ALL {
        let (mut target, _) = target(flavour).await;
        let (_, stop) = refused(&mut target, &mut device(), LATIN).await;
        assert!(stop.reason.contains("text beyond ASCII"), "{}", stop.reason);
    }
}

#[tokio::test]
async fn a_table_that_gets_another_key_is_made_anew_where_no_other_device_has_it() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut own = device();
        let collation = "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
        ddl(&mut target, &mut own, &[SIMPLE, collation]).await;
        own.transaction(&simple("t"), &[row(1, "a"), row(2, "b")].map(Change::Insert));
        settled(&mut target, &mut own).await;
        let alter =
            "ALTER TABLE t MODIFY v VARCHAR(100) NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (v)";
        let (batch, stop) = refused(&mut target, &mut own, alter).await;
        assert!(
            stop.reason.contains("primary key (v) at the device"),
            "{flavour}: {}",
            stop.reason
        );
        assert!(stop.remedy.contains("drop it at the shard"), "{}", stop.remedy);
        run(&mut target, &format!("DROP TABLE {app}.t")).await;
        release(&mut target, &own).await;
        apply_all(&mut target, &own.id, &[&batch]).await;
        let columns = simple("t").columns.iter().rev().cloned().collect();
        let by_v = table("t", columns, 1);
        own.transaction(&by_v, &[Change::Update(vec![text("a"), int(1)], vec![text("a"), int(3)])]);
        settled(&mut target, &mut own).await;
        let found = rows(&mut target, &own, "id, v", &format!("{app}.t")).await;
        assert_eq!(found, ["2|b", "3|a"], "{flavour}");
    }
}

async fn refused(target: &mut Target, device: &mut Device, sql: &str) -> (Batch, Parked) {
    device.ddl(sql);
    let batch = device.batch();
    let stop = shard::stopped(target, &device.id, &[&batch]).await;
    (batch, stop)
}

#[tokio::test]
async fn a_type_that_conflicts_parks_the_later_device_until_the_remedy_is_followed() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut early, mut late) = (device(), device());
        ddl(&mut target, &mut early, &["CREATE TABLE t (id INT PRIMARY KEY, v INT)"]).await;
        let columns = vec![column("id", ColumnKind::Integer), column("v", ColumnKind::Integer)];
        let numbers = table("t", columns, 1);
        early.insert(&numbers, vec![int(1), int(-5)]);
        settled(&mut target, &mut early).await;
        let (batch, stop) = refused(&mut target, &mut late, SIMPLE).await;
        assert!(stop.reason.contains(&format!("column v of table {app}.t is varchar(100)")));
        assert!(stop.reason.contains("int"), "{}", stop.reason);
        // The early device is not concerned.
        early.insert(&numbers, vec![int(2), int(6)]);
        settled(&mut target, &mut early).await;
        assert!(stop.remedy.contains("LONGTEXT COMMENT 'mixed'"), "{}", stop.remedy);
        run(&mut target, &format!("ALTER TABLE {app}.t MODIFY v LONGTEXT COMMENT 'mixed'")).await;
        release(&mut target, &late).await;
        apply_all(&mut target, &late.id, &[&batch]).await;
        late.insert(&simple("t"), row(1, "five"));
        early.insert(&numbers, vec![int(3), int(7)]);
        settled(&mut target, &mut late).await;
        settled(&mut target, &mut early).await;
        let t = format!("{app}.t");
        assert_eq!(rows(&mut target, &late, "id, v", &t).await, ["1|five"], "{flavour}");
        let found = rows(&mut target, &early, "id, v", &t).await;
        assert_eq!(found, ["1|-5", "2|6", "3|7"], "{flavour}");
    }
}

#[tokio::test]
async fn another_key_and_a_column_of_the_layouts_name_park_the_device() {
    for flavour in Flavour::ALL {
        let (mut target, _) = target(flavour).await;
        ddl(&mut target, &mut device(), &[SIMPLE]).await;
        for (sql, reason) in [
            ("CREATE TABLE t (id INT, v VARCHAR(100))", "no key at the device"),
            ("CREATE TABLE t (id INT, v VARCHAR(9), PRIMARY KEY (id, v))", "primary key (id, v)"),
            ("CREATE TABLE u (id INT PRIMARY KEY, Device_ID INT)", "has a column Device_ID"),
            ("CREATE TABLE `a__b`.t (id INT PRIMARY KEY)", "could be a device's own"),
        ] {
            let (_, stop) = refused(&mut target, &mut device(), sql).await;
            assert!(stop.reason.contains(reason), "{flavour}: {}", stop.reason);
        }
    }
}
