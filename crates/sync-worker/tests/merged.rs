//! The layout `merged`: devices of several versions in one set of tables.

use crate::device::{Change, Device, Range, Value, column, int, row, simple, table, text};
use crate::shard::{self, Target, apply_all, query, run, unique, work};
use std::sync::Arc;
use tributary_sync_worker::apply;
use tributary_sync_worker::merged::remember::remember;
use tributary_sync_worker::merged::{Layout, Merged};
use tributary_sync_worker::migrate::MigrateError;
use tributary_sync_worker::watermark;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, ColumnKind, Item, TableShape};

/// A shard with shared databases of its own, and the one of `app`.
pub(crate) async fn target(flavour: Flavour) -> (Target, String) {
    let target = shard::target(flavour).await;
    let book = target.database.clone();
    (join(target, &book), format!("{book}_app"))
}

/// The same for a successor of a worker that died.
pub(crate) async fn successor(flavour: Flavour, book: &str) -> Target {
    join(shard::connect(shard::server(flavour), book).await, book)
}

fn join(target: Target, book: &str) -> Target {
    Target { layout: layout(book), ..target }
}

fn layout(book: &str) -> Layout {
    let (template, device_column) = (format!("{book}_{{database}}"), "device_id".into());
    Layout::Merged(Arc::new(Merged { template, device_column, bookkeeping: book.into() }))
}

pub(crate) fn device() -> Device {
    Device::new(&unique("dev"))
}

/// Runs these statements at the device and applies them.
pub(crate) async fn ddl(target: &mut Target, device: &mut Device, statements: &[&str]) {
    for sql in statements {
        device.ddl(sql);
    }
    settled(target, device).await;
}

/// Applies everything that the device has done.
pub(crate) async fn settled(target: &mut Target, device: &mut Device) {
    let batch = device.batch();
    apply_all(target, &device.id, &[&batch]).await;
}

/// A device's rows of a shared table.
pub(crate) async fn rows(
    target: &mut Target,
    device: &Device,
    columns: &str,
    table: &str,
) -> Vec<String> {
    let sql =
        format!("SELECT {columns} FROM {table} WHERE device_id='{}' ORDER BY 1, 2", device.id);
    query(target, &sql).await
}

pub(crate) const SIMPLE: &str =
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARACTER SET utf8mb4";

/// `app.t` with an integer `id`, a text `v` and one more integer.
fn with_more(name: &str) -> Arc<TableShape> {
    let mut columns = simple("t").columns.clone();
    columns.push(column(name, ColumnKind::Integer));
    table("t", columns, 1)
}

#[tokio::test]
async fn devices_of_several_versions_share_a_table_that_is_the_union_of_theirs() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut old, mut new) = (device(), device());
        ddl(&mut target, &mut old, &[SIMPLE]).await;
        old.insert(&simple("t"), row(1, "old"));
        settled(&mut target, &mut old).await;
        ddl(
            &mut target,
            &mut new,
            &["CREATE TABLE t (id BIGINT PRIMARY KEY, more INT NOT NULL, v VARCHAR(200)) CHARSET utf8mb4"],
        )
        .await;
        let own = table(
            "t",
            vec![
                column("id", ColumnKind::Integer),
                column("more", ColumnKind::Integer),
                column("v", ColumnKind::Text),
            ],
            1,
        );
        new.insert(&own, vec![int(1), int(7), text(&"x".repeat(150))]);
        new.insert(&own, vec![int(1 << 40), int(8), text("far")]);
        old.insert(&simple("t"), row(2, "still"));
        settled(&mut target, &mut new).await;
        settled(&mut target, &mut old).await;
        let t = format!("{app}.t");
        assert_eq!(rows(&mut target, &old, "id, v", &t).await, ["1|old", "2|still"], "{flavour}");
        let long = format!("1|7|{}", "x".repeat(150));
        let wanted = [long, format!("{}|8|far", 1u64 << 40)];
        assert_eq!(rows(&mut target, &new, "id, more, v", &t).await, wanted, "{flavour}");
        let sql = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema='{app}' ORDER BY ordinal_position"
        );
        assert_eq!(query(&mut target, &sql).await, ["device_id", "id", "v", "more"]);
        let sql = format!(
            "SELECT column_name FROM information_schema.statistics WHERE table_schema='{app}' \
             AND index_name='PRIMARY' ORDER BY seq_in_index"
        );
        assert_eq!(query(&mut target, &sql).await, ["device_id", "id"]);
    }
}

#[tokio::test]
async fn changes_of_many_devices_to_one_table_are_one_statement() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut devices = [device(), device(), device()];
        for device in &mut devices {
            ddl(&mut target, device, &[SIMPLE]).await;
        }
        let t = simple("t");
        for device in &mut devices {
            device.transaction(&t, &[Change::Insert(row(1, "a")), Change::Insert(row(2, "b"))]);
        }
        count(&mut target, &mut devices, ["2", "0"]).await;
        for device in &mut devices {
            let id = device.id.to_string();
            let update = Change::Update(row(2, "b"), row(2, &id));
            device.transaction(&t, &[Change::Delete(row(1, "a")), update]);
        }
        count(&mut target, &mut devices, ["2", "1"]).await;
        for device in &devices {
            let wanted = [format!("2|{}", device.id)];
            let found = rows(&mut target, device, "id, v", &format!("{app}.t")).await;
            assert_eq!(found, wanted, "{flavour}");
        }
    }
}

/// Applies what the devices have done in one transaction, of so many INSERTs (one moves the watermarks) and
/// DELETEs.
async fn count(target: &mut Target, devices: &mut [Device], wanted: [&str; 2]) {
    let status = "SHOW SESSION STATUS WHERE Variable_name IN ('Com_insert', 'Com_delete')";
    let before = query(target, status).await;
    let batches: Vec<Batch> = devices.iter_mut().map(Device::batch).collect();
    let works: Vec<_> =
        devices.iter().zip(&batches).map(|(device, batch)| work(&device.id, &[batch])).collect();
    apply::apply(target, &works).await.expect("applies");
    let after = query(target, status).await;
    let number = |line: &String| line.rsplit('|').next().and_then(|n| n.parse::<u64>().ok());
    let grown = |name: &str| {
        let of = |lines: &[String]| lines.iter().find(|l| l.contains(name)).and_then(number);
        (of(&after).expect("counted") - of(&before).expect("counted")).to_string()
    };
    assert_eq!([grown("insert"), grown("delete")], wanted);
}

#[tokio::test]
async fn one_row_is_found_without_reading_the_whole_table() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut device = device();
        ddl(&mut target, &mut device, &[SIMPLE]).await;
        let all: Vec<Change> = (0..500).map(|id| Change::Insert(row(id, "x"))).collect();
        device.transaction(&simple("t"), &all);
        settled(&mut target, &mut device).await;
        run(&mut target, &format!("ANALYZE TABLE {app}.t")).await;
        device.transaction(&simple("t"), &[Change::Delete(row(7, "x"))]);
        let before = reads(&mut target).await;
        settled(&mut target, &mut device).await;
        let grown = reads(&mut target).await - before;
        assert!(grown < 100, "{flavour}: {grown} rows were read");
    }
}

/// Rows that the session has read by going on to the next one.
async fn reads(target: &mut Target) -> u64 {
    let sql =
        "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_rnd_next')";
    let lines = query(target, sql).await;
    lines.iter().filter_map(|line| line.rsplit('|').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn rows_without_a_key_are_found_among_their_devices_own() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let k = table("k", simple("k").columns.clone(), 0);
        let mut devices = [device(), device()];
        for device in &mut devices {
            ddl(&mut target, device, &["CREATE TABLE k (id INT, v VARCHAR(100)) CHARSET utf8mb4"])
                .await;
            device.transaction(&k, &[Change::Insert(row(1, "x")), Change::Insert(row(1, "x"))]);
            settled(&mut target, device).await;
        }
        let [first, second] = &mut devices;
        let changes = [Change::Delete(row(1, "x")), Change::Update(row(1, "x"), row(2, "y"))];
        second.transaction(&k, &changes);
        settled(&mut target, second).await;
        let k = format!("{app}.k");
        assert_eq!(rows(&mut target, first, "id, v", &k).await, ["1|x", "1|x"], "{flavour}");
        assert_eq!(rows(&mut target, second, "id, v", &k).await, ["2|y"], "{flavour}");
    }
}

#[tokio::test]
async fn values_that_are_unique_at_each_device_may_be_there_once_for_each_and_swap() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut devices, t) = ([device(), device()], simple("t"));
        for device in &mut devices {
            ddl(
                &mut target,
                device,
                &["CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100), UNIQUE u (v)) CHARSET utf8mb4"],
            )
            .await;
            device.transaction(&t, &[Change::Insert(row(1, "a")), Change::Insert(row(2, "b"))]);
            settled(&mut target, device).await;
        }
        let [first, second] = &mut devices;
        let swap = [
            Change::Update(row(1, "a"), row(1, "c")),
            Change::Update(row(2, "b"), row(2, "a")),
            Change::Update(row(1, "c"), row(1, "b")),
        ];
        second.transaction(&t, &swap);
        settled(&mut target, second).await;
        let t = format!("{app}.t");
        assert_eq!(rows(&mut target, first, "id, v", &t).await, ["1|a", "2|b"], "{flavour}");
        assert_eq!(rows(&mut target, second, "id, v", &t).await, ["1|b", "2|a"], "{flavour}");
    }
}

/// Lets a parked device go on.
pub(crate) async fn release(target: &mut Target, device: &Device) {
    let sql = watermark::release(&target.database, &device.id, false);
    run(target, &sql).await;
}

#[tokio::test]
async fn a_snapshot_replaces_the_rows_of_its_device_alone() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut other, mut own, t) = (device(), device(), simple("t"));
        let more = "CREATE TABLE gone (id INT PRIMARY KEY, v VARCHAR(100))";
        for device in [&mut other, &mut own] {
            ddl(&mut target, device, &[SIMPLE, more, "CREATE TABLE old.t LIKE t"]).await;
            let all: Vec<Change> = (1..=6).map(|id| Change::Insert(row(id, "old"))).collect();
            for name in ["t", "gone"] {
                device.transaction(&simple(name), &all);
            }
            let old = TableShape { database: "old".into(), ..(*t).clone() };
            device.transaction(&Arc::new(old), &all);
            settled(&mut target, device).await;
        }
        own.item(Item::Databases(["app"].iter().collect()), None);
        own.item(Item::Tables { database: "app".into(), names: ["t"].iter().collect() }, None);
        own.define("t", SIMPLE);
        let upper = Some(vec![int(3)]);
        let range = Range { lower: Some(vec![int(1)]), upper, ..Range::default() };
        own.chunk(&t, &range, &[row(2, "copy")]);
        let kept: &[Vec<Value>] = &[vec![int(5)]];
        let range = Range { lower: Some(vec![int(3)]), kept, ..Range::default() };
        own.chunk(&t, &range, &[row(4, "copy")]);
        settled(&mut target, &mut own).await;
        let shared = [format!("{app}.t"), format!("{app}.gone"), app.replace("_app", "_old.t")];
        let wanted = ["1|old", "2|copy", "4|copy", "5|old"];
        assert_eq!(rows(&mut target, &own, "id, v", &shared[0]).await, wanted, "{flavour}");
        for table in &shared[1..] {
            assert_eq!(rows(&mut target, &own, "id, v", table).await, [""; 0], "{flavour} {table}");
        }
        for table in &shared {
            assert_eq!(
                rows(&mut target, &other, "id, v", table).await.len(),
                6,
                "{flavour} {table}"
            );
        }
        // Another definition: the rows of the old one go, and the chunks bring them again.
        own.define(
            "t",
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100), w INT) CHARSET utf8mb4",
        );
        settled(&mut target, &mut own).await;
        assert_eq!(rows(&mut target, &own, "id, v, w", &shared[0]).await, [""; 0], "{flavour}");
        own.chunk(&with_more("w"), &Range::default(), &[vec![int(9), text("n"), int(1)]]);
        settled(&mut target, &mut own).await;
        assert_eq!(rows(&mut target, &own, "id, v, w", &shared[0]).await, ["9|n|1"], "{flavour}");
        assert_eq!(rows(&mut target, &other, "id, v", &shared[0]).await.len(), 6, "{flavour}");
    }
}

#[tokio::test]
async fn a_shard_keeps_the_layout_that_its_devices_have() {
    for flavour in Flavour::ALL {
        let (mut target, _) = target(flavour).await;
        let (merged, book) = (target.layout.clone(), target.database.clone());
        let session = &mut target.session;
        // Without a device it takes any.
        for layout in [&Layout::SchemaPerDevice, &merged, &merged] {
            remember(session, &book, layout).await.expect("taken");
        }
        ddl(&mut target, &mut device(), &[SIMPLE]).await;
        let session = &mut target.session;
        remember(session, &book, &merged).await.expect("the same");
        let refused =
            remember(session, &book, &Layout::SchemaPerDevice).await.expect_err("refused");
        assert!(matches!(refused, MigrateError::Layout { .. }), "{refused}");
        assert!(refused.to_string().contains("layout is merged (database"), "{refused}");
    }
}

#[tokio::test]
async fn a_shard_from_before_there_were_layouts_has_a_schema_per_device() {
    let mut target = shard::target(Flavour::MySql).await;
    let mut device = device();
    ddl(&mut target, &mut device, &[SIMPLE]).await;
    let (book, merged) = (target.database.clone(), layout(&target.database));
    let session = &mut target.session;
    let refused = remember(session, &book, &merged).await.expect_err("refused");
    assert!(refused.to_string().contains("layout is schema_per_device"), "{refused}");
    remember(session, &book, &Layout::SchemaPerDevice).await.expect("the same");
}
