//! What the tests of whole workers share: servers, names, a log in which nothing may be lost or repeated.

use crate::device::{Change, Device, Range, Value, int, row, simple, table, text};
use crate::shard::unique;
use crate::worker::Setup;
use std::sync::Arc;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer};
use tributary_wire::{DeviceId, Item, TableShape};

pub(crate) const SIMPLE: &str =
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARACTER SET utf8mb4";

pub(crate) fn nats() -> NatsServer {
    NatsServer::start(&NatsOptions::default()).expect("nats-server starts")
}

/// A server of the test's own, which it may kill.
pub(crate) fn server(flavour: Flavour) -> MySqlServer {
    let options = MySqlOptions { durable: false, ..MySqlOptions::target() };
    MySqlServer::start(flavour, &options).expect("a server starts")
}

/// A bookkeeping database that no other test uses.
pub(crate) fn book() -> String {
    unique("book").replace('-', "_")
}

pub(crate) fn setup<'a>(
    id: &'a str,
    nats: String,
    shards: &[(&'a str, u16)],
    bookkeeping: &'a str,
) -> Setup<'a> {
    Setup { id, nats, shards: shards.to_vec(), bookkeeping, more: "" }
}

/// The rows of the device's table `t`.
pub(crate) fn select(device: &DeviceId) -> String {
    format!("SELECT id, v FROM `{device}__app`.t ORDER BY id")
}

/// A table without a key: a change that is made twice, or left out, shows.
fn keyless() -> Arc<TableShape> {
    table("t", simple("t").columns.clone(), 0)
}

/// What makes a keyless table, and `count` messages of one transaction each; every `ddl_every`-th
/// also adds an index, which would be there twice if it were added twice.
pub(crate) fn keyless_log(device: &mut Device, count: i64, ddl_every: i64) -> Vec<Vec<u8>> {
    let t = keyless();
    device.ddl("CREATE TABLE t (id INT, v VARCHAR(100), INDEX (id))");
    let mut messages = vec![device.seal()];
    for n in 0..count {
        device.transaction(
            &t,
            &[
                Change::Insert(row(n, "a")),
                Change::Update(row(n, "a"), row(n, "b")),
                Change::Insert(row(n, "c")),
                Change::Delete(row(n, "c")),
            ],
        );
        if n % ddl_every == ddl_every / 2 {
            device.ddl(&format!("ALTER TABLE t ADD INDEX (id), COMMENT='{n}'"));
        }
        messages.push(device.seal());
    }
    messages
}

/// `count|count|b|b` once the log of [`keyless_log`] is applied.
pub(crate) fn counts(device: &DeviceId) -> String {
    format!("SELECT COUNT(*), COUNT(DISTINCT id), MIN(v), MAX(v) FROM `{device}__app`.t")
}

/// How many indexes the device's table has.
pub(crate) fn indexes(device: &DeviceId) -> String {
    format!(
        "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
         WHERE table_schema='{device}__app' AND table_name='t'"
    )
}

/// The log of a device with 400 old rows in `t`, of which a snapshot leaves the even ones, and a new
/// table `k` without a key, while both are written to. One message per step of it.
pub(crate) fn snapshot_log(device: &mut Device) -> Vec<Vec<u8>> {
    let (t, k) = (simple("t"), table("k", simple("k").columns.clone(), 0));
    let names = |names: &[&str]| names.iter().collect();
    device.ddl(SIMPLE);
    let old: Vec<Change> = (0..400).map(|id| Change::Insert(row(id, "old"))).collect();
    device.transaction(&t, &old);
    let mut messages = vec![device.seal()];
    device.cursor(Some(("", false)));
    device.item(Item::Databases(names(&["app"])), None);
    device.item(Item::Tables { database: "app".into(), names: names(&["k", "t"]) }, None);
    device.define("k", "CREATE TABLE k (id INT, v LONGTEXT) CHARACTER SET utf8mb4");
    let part = device.item_piece(b"in ");
    messages.push(device.seal());
    device.item_piece(b"pieces");
    let staged = vec![int(0), Value::Staged(part, 2)];
    device.chunk(&k, &Range::default(), &[staged, row(0, "whole")]);
    device.chunk(&k, &Range { append: true, ..Range::default() }, &[row(0, "whole")]);
    device.define("t", SIMPLE);
    device.cursor(Some(("t", false)));
    messages.push(device.seal());
    for n in 0..40 {
        let (first, last) = (n * 10, n * 10 + 9);
        let range = Range {
            lower: (n > 0).then(|| vec![int(first - 1)]),
            upper: (n < 39).then(|| vec![int(last)]),
            ..Range::default()
        };
        let rows: Vec<_> = (first..=last).step_by(2).map(|id| row(id, "copy")).collect();
        device.chunk(&t, &range, &rows);
        device.cursor((n < 39).then_some(("t", false)));
        messages.push(device.seal());
        device.transaction(&k, &[Change::Insert(row(n + 1, "log"))]);
        device
            .transaction(&t, &[Change::Update(row(first, "copy"), vec![int(first), text("log")])]);
        messages.push(device.seal());
    }
    messages
}

/// `200|160|40|40|1|2` once the log of [`snapshot_log`] is applied.
pub(crate) fn copied(device: &DeviceId) -> String {
    format!(
        "SELECT (SELECT COUNT(*) FROM `{device}__app`.t WHERE id % 2 = 0), \
         (SELECT COUNT(*) FROM `{device}__app`.t WHERE v='copy'), \
         (SELECT COUNT(*) FROM `{device}__app`.t WHERE v='log' AND id % 10 = 0), \
         (SELECT COUNT(DISTINCT id) FROM `{device}__app`.k WHERE v='log'), \
         (SELECT COUNT(*) FROM `{device}__app`.k WHERE v='in pieces'), \
         (SELECT COUNT(*) FROM `{device}__app`.k WHERE v='whole')"
    )
}

/// How many rows the tables of [`snapshot_log`] have, and pieces are left: `200|43|0`.
pub(crate) fn totals(device: &DeviceId, book: &str) -> String {
    format!(
        "SELECT (SELECT COUNT(*) FROM `{device}__app`.t), (SELECT COUNT(*) FROM `{device}__app`.k), \
         (SELECT COUNT(*) FROM {book}.piece WHERE device_id='{device}')"
    )
}
