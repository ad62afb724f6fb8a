//! What the tests of whole workers share: servers, names, a log in which nothing may be lost or repeated.

use crate::device::{Change, Device, row, simple, table};
use crate::shard::unique;
use crate::worker::Setup;
use std::sync::Arc;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer};
use tributary_wire::{DeviceId, TableShape};

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
