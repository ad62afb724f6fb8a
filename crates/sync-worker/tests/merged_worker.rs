//! Whole workers in the layout `merged`.

use crate::device::{Change, Device, row, simple};
use crate::lab::{SIMPLE, book, copied, counts, keyless_log, nats, setup, snapshot_log, totals};
use crate::shard::{self, run, unique};
use crate::worker::{self, Setup, connect, eventually, heartbeat_until, publish, start};
use tributary_sync_worker::operate;
use tributary_sync_worker::preflight::{self, Verdict};
use tributary_testkit::{Flavour, MySqlServer};
use tributary_wire::{Directive, HeartbeatReply};

/// The shared databases are the test's own.
fn more(book: &str) -> String {
    format!("layout = \"merged\"\n[merged]\ndatabase = \"{book}_{{database}}\"\n")
}

fn merged<'a>(nats: String, mysql: &MySqlServer, book: &'a str, more: &'a str) -> Setup<'a> {
    Setup { more, ..setup("w", nats, &[("m", mysql.port())], book) }
}

/// A question about a device's own tables, as one about its rows of the shared ones.
fn shared(sql: &str, device: &Device, book: &str) -> String {
    let own = format!("`{}__app`.", device.id);
    ["t", "k"].iter().fold(sql.to_owned(), |sql, table| {
        let rows =
            format!("(SELECT id, v FROM {book}_app.{table} WHERE device_id='{}') x", device.id);
        sql.replace(&format!("{own}{table}"), &rows)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_loses_and_repeats_nothing_of_any_device() {
    let nats = nats();
    for flavour in Flavour::ALL {
        let (mysql, book) = (shard::server(flavour), book());
        let more = more(&book);
        let client = connect(&nats).await;
        let mut devices = [(); 2].map(|()| Device::new(&unique("dev")));
        let [first, second] = &mut devices;
        let logs = [keyless_log(first, 80, 20), keyless_log(second, 80, 40)];
        for part in 0..4 {
            let process = worker::spawn(&merged(nats.url(), mysql, &book, &more));
            for (device, log) in devices.iter().zip(&logs) {
                let size = log.len().div_ceil(4);
                for message in log.iter().skip(part * size).take(size) {
                    publish(&client, &device.id, message.clone()).await;
                }
            }
            process.kill_at_some_time().await;
        }
        let process = worker::spawn(&merged(nats.url(), mysql, &book, &more));
        for device in &devices {
            eventually(mysql, &shared(&counts(&device.id), device, &book), &["80|80|b|b"]).await;
        }
        drop(process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_during_a_snapshot_leaves_what_the_device_has() {
    let nats = nats();
    for flavour in Flavour::ALL {
        let (mysql, book) = (shard::server(flavour), book());
        let more = more(&book);
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let messages = snapshot_log(&mut device);
        for chunk in messages.chunks(21) {
            let process = worker::spawn(&merged(nats.url(), mysql, &book, &more));
            for message in chunk {
                publish(&client, &device.id, message.clone()).await;
            }
            process.kill_at_some_time().await;
        }
        let process = worker::spawn(&merged(nats.url(), mysql, &book, &more));
        let copied = shared(&copied(&device.id), &device, &book);
        eventually(mysql, &copied, &["200|160|40|40|1|2"]).await;
        let totals = shared(&totals(&device.id, &book), &device, &book);
        eventually(mysql, &totals, &["200|43|0"]).await;
        drop(process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_devices_that_share_statements_only_the_one_at_fault_is_parked() {
    let nats = nats();
    for flavour in Flavour::ALL {
        let (mysql, book) = (shard::server(flavour), book());
        let more = more(&book);
        let configuration = merged(nats.url(), mysql, &book, &more);
        let worker = start(&configuration).await;
        let client = connect(&nats).await;
        let mut devices = [(); 4].map(|()| Device::new(&unique("dev")));
        let select = |device: &Device| {
            let sql = format!("SELECT id, v FROM `{}__app`.t ORDER BY id", device.id);
            shared(&sql, device, &book)
        };
        for device in &mut devices {
            device.ddl(SIMPLE);
            publish(&client, &device.id.clone(), device.seal()).await;
            let made = format!(
                "SELECT shape_generation FROM {book}.watermark WHERE device_id='{}'",
                device.id
            );
            eventually(mysql, &made, &["1"]).await;
        }
        let mut by_hand = shard::connect(mysql, &book).await;
        run(&mut by_hand, &format!("ALTER TABLE {book}_app.t MODIFY v VARCHAR(3)")).await;
        for (at, device) in devices.iter_mut().enumerate() {
            let v = if at == 2 { "too long" } else { "fit" };
            device.transaction(&simple("t"), &[Change::Insert(row(1, v))]);
            publish(&client, &device.id.clone(), device.seal()).await;
        }
        for at in [0, 1, 3] {
            eventually(mysql, &select(&devices[at]), &["1|fit"]).await;
        }
        let bad = &devices[2];
        let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("too long"));
        heartbeat_until(&client, &bad.id, 1, Some(bad.end()), parked).await;
        let list = operate::parked(&worker::settings(&configuration)).await.expect("lists");
        assert_eq!(list.iter().map(|one| &one.device).collect::<Vec<_>>(), [&bad.id]);
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_of_a_shard_with_another_layout_and_no_worker_writes_there() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MariaDb));
    let more = more(&book);
    let other = setup("w", nats.url(), &[("m", mysql.port())], &book);
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    device.ddl(SIMPLE);
    let worker = start(&other).await;
    publish(&client, &device.id.clone(), device.seal()).await;
    let tables = format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='{}__app'",
        device.id
    );
    eventually(mysql, &tables, &["1"]).await;
    worker.stop().await;
    let findings =
        preflight::check(&worker::settings(&merged(nats.url(), mysql, &book, &more))).await;
    let of_layout = findings.iter().find(|finding| finding.subject.ends_with("layout"));
    let verdict = &of_layout.expect("a line").verdict;
    assert!(
        matches!(verdict, Verdict::Bad(text) if text.contains("devices in schema_per_device")),
        "{verdict:?}"
    );
    let shard = worker::settings(&merged(nats.url(), mysql, &book, &more)).shards.remove(0);
    let refused = tributary_sync_worker::shard::Shard::new(shard).connect().await;
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("set layout back"), "{refused}");
}
