//! What breaks in operation: servers that die, links that swallow messages, locks, missing rights.

use crate::device::{Change, Device, row, simple, table};
use crate::shard::{self, query, run, target, try_query, unique};
use crate::worker::{self, Setup, connect, eventually, heartbeat_until, publish, start};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_sync_worker::apply;
use tributary_sync_worker::classify::{Class, classify};
use tributary_sync_worker::operate;
use tributary_sync_worker::preflight::{self, Verdict};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer, Proxy};
use tributary_wire::{Batch, DeviceId, Directive, HeartbeatReply, TableShape};

const SIMPLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARACTER SET utf8mb4";

fn nats() -> NatsServer {
    NatsServer::start(&NatsOptions::default()).expect("nats-server starts")
}

fn server(flavour: Flavour) -> MySqlServer {
    let options = MySqlOptions { durable: false, ..MySqlOptions::target() };
    MySqlServer::start(flavour, &options).expect("a server starts")
}

fn book() -> String {
    unique("book").replace('-', "_")
}

fn setup<'a>(nats: String, shards: &[(&'a str, u16)], bookkeeping: &'a str) -> Setup<'a> {
    Setup { id: "w", nats, shards: shards.to_vec(), bookkeeping, more: "" }
}

/// A table without a key: a change that is made twice, or left out, shows.
fn keyless() -> Arc<TableShape> {
    table("t", simple("t").columns.clone(), 0)
}

/// What makes a keyless table, and `count` messages of one transaction each.
fn keyless_log(device: &mut Device, count: i64) -> Vec<Vec<u8>> {
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
        messages.push(device.seal());
    }
    messages
}

fn counts(device: &DeviceId) -> String {
    format!("SELECT COUNT(*), COUNT(DISTINCT id), MIN(v), MAX(v) FROM `{device}__app`.t")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_killed_again_and_again_gets_every_change_once() {
    for flavour in Flavour::ALL {
        let (nats, book, mut mysql) = (nats(), book(), server(flavour));
        let worker = start(&setup(nats.url(), &[("m", mysql.port())], &book)).await;
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let messages = keyless_log(&mut device, 300);
        for chunk in messages.chunks(75) {
            for message in chunk {
                publish(&client, &device.id, message.clone()).await;
            }
            mysql.kill();
            mysql.restart().expect("it comes back");
        }
        // Nothing is published again: what was not applied is still in the stream.
        eventually(&mysql, &counts(&device.id), &["300|300|b|b"]).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_nats_that_breaks_swallows_nothing_for_good() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MySql));
    let proxy = Proxy::start(nats.address()).expect("a proxy");
    let url = format!("nats://{}", proxy.addr());
    let worker = start(&setup(url, &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    for (n, message) in keyless_log(&mut device, 200).into_iter().enumerate() {
        publish(&client, &device.id, message).await;
        if n % 50 == 25 {
            proxy.cut().expect("cut");
            proxy.heal().expect("healed");
        }
    }
    eventually(mysql, &counts(&device.id), &["200|200|b|b"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_that_both_believe_they_own_a_device_apply_each_change_once() {
    async fn insist(mut target: shard::Target, device: DeviceId, batches: Arc<Vec<Batch>>) {
        for batch in batches.iter() {
            loop {
                let works = [shard::work(&device, &[batch])];
                match apply::apply(&mut target, &works).await {
                    Ok(_) => break,
                    Err(error) => {
                        let class = classify(&error.source, error.subject);
                        assert_eq!(class, Class::Conflict, "{error}");
                        target.session.reset().await.expect("resets");
                    }
                }
            }
        }
    }
    for flavour in Flavour::ALL {
        let mut first = target(flavour).await;
        let second = shard::connect(shard::server(flavour), &first.database).await;
        let mut device = Device::new(&unique("dev"));
        let mut messages = keyless_log(&mut device, 100).into_iter();
        let made = crate::device::decode(&messages.next().expect("the table"));
        shard::apply_all(&mut first, &device.id, &[&made]).await;
        let batches: Arc<Vec<Batch>> =
            Arc::new(messages.map(|message| crate::device::decode(&message)).collect());
        let mut third = shard::connect(shard::server(flavour), &first.database).await;
        tokio::join!(
            insist(first, device.id.clone(), Arc::clone(&batches)),
            insist(second, device.id.clone(), batches),
        );
        assert_eq!(query(&mut third, &counts(&device.id)).await, ["100|100|b|b"], "{flavour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_rows_someone_holds_locked_delays_no_other() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MySql));
    let worker = start(&setup(nats.url(), &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    // Enough devices that some share the lane of the first.
    let mut devices: Vec<Device> = (0..8).map(|_| Device::new(&unique("dev"))).collect();
    for device in &mut devices {
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    let select = |id: &DeviceId| format!("SELECT id, v FROM `{id}__app`.t ORDER BY id");
    for device in &devices {
        eventually(mysql, &select(&device.id), &["1|x"]).await;
    }
    let mut holder = shard::connect(mysql, &book).await;
    let locked = devices[0].id.clone();
    run(&mut holder, "START TRANSACTION").await;
    query(
        &mut holder,
        &format!("SELECT * FROM {book}.watermark WHERE device_id='{locked}' FOR UPDATE"),
    )
    .await;
    for device in &mut devices {
        device.insert(&simple("t"), row(2, "y"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &devices[1..] {
        eventually(mysql, &select(&device.id), &["1|x", "2|y"]).await;
    }
    assert_eq!(try_query(mysql, &select(&locked)).await.expect("rows"), ["1|x"]);
    run(&mut holder, "ROLLBACK").await;
    eventually(mysql, &select(&locked), &["1|x", "2|y"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_parks_and_a_grant_with_a_release_goes_on() {
    for flavour in Flavour::ALL {
        let (nats, book, mysql) = (nats(), book(), shard::server(flavour));
        let user = unique("user").replace('-', "_");
        let mut admin = shard::connect(mysql, &book).await;
        run(&mut admin, &format!("CREATE USER {user} IDENTIFIED BY 'tributary'")).await;
        run(
            &mut admin,
            &format!("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON *.* TO {user}"),
        )
        .await;
        let mut settings = worker::settings(&setup(nats.url(), &[("m", mysql.port())], &book));
        let opts = mysql_async::OptsBuilder::from_opts(settings.shards[0].opts.clone());
        settings.shards[0].opts = opts.user(Some(user.clone())).into();
        let shards = settings.shards.clone();
        let worker = worker::start_with(settings).await;
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let id = device.id.clone();
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "x"));
        device.ddl("ALTER TABLE t ADD c INT DEFAULT 7");
        let message = device.seal();
        publish(&client, &id, message.clone()).await;
        let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("ALTER"));
        heartbeat_until(&client, &id, 1, Some(device.end()), parked).await;
        let settings = worker::settings(&setup(nats.url(), &[("m", mysql.port())], &book));
        let list = operate::parked(&settings).await.expect("lists");
        assert!(list[0].remedy.contains("grant"), "{list:?}");
        let bad = preflight::check(&tributary_sync_worker::Settings {
            shards,
            ..worker::settings(&setup(nats.url(), &[("m", mysql.port())], &book))
        })
        .await;
        let complaint = bad.iter().find_map(|finding| match &finding.verdict {
            Verdict::Bad(text) => Some(text.clone()),
            Verdict::Good(_) | Verdict::Doubtful(_) => None,
        });
        assert!(complaint.expect("a complaint").contains("GRANT ALTER"));

        run(&mut admin, &format!("GRANT ALTER, INDEX ON *.* TO {user}")).await;
        operate::release(&settings, &id, false).await.expect("releases");
        let rewind =
            |reply: &HeartbeatReply| matches!(reply.directive, Some(Directive::Rewind { .. }));
        heartbeat_until(&client, &id, 1, Some(device.end()), rewind).await;
        publish(&client, &id, message).await;
        eventually(mysql, &format!("SELECT id, v, c FROM `{id}__app`.t"), &["1|x|7"]).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_made_by_hand_can_be_passed() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MariaDb));
    let configuration = setup(nats.url(), &[("m", mysql.port())], &book);
    let worker = start(&configuration).await;
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    let id = device.id.clone();
    device.ddl(SIMPLE);
    device.ddl("CREATE SEQUENCE s");
    device.insert(&simple("t"), row(1, "x"));
    let message = device.seal();
    publish(&client, &id, message.clone()).await;
    let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("sequences"));
    heartbeat_until(&client, &id, 1, Some(device.end()), parked).await;
    let settings = worker::settings(&configuration);
    operate::release(&settings, &id, true).await.expect("releases");
    publish(&client, &id, message).await;
    eventually(mysql, &format!("SELECT id, v FROM `{id}__app`.t"), &["1|x"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_two_shards_hold_is_not_touched() {
    let (nats, book) = (nats(), book());
    let (mysql, mariadb) = (shard::server(Flavour::MySql), shard::server(Flavour::MariaDb));
    let mut device = Device::new(&unique("dev"));
    device.ddl(SIMPLE);
    let batch = device.batch();
    for server in [mysql, mariadb] {
        let mut target = shard::connect(server, &book).await;
        shard::apply_all(&mut target, &device.id, &[&batch]).await;
    }
    let shards = [("m", mysql.port()), ("d", mariadb.port())];
    let worker = start(&setup(nats.url(), &shards, &book)).await;
    let client = connect(&nats).await;
    device.insert(&simple("t"), row(1, "x"));
    publish(&client, &device.id.clone(), device.seal()).await;
    let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("m and d"));
    heartbeat_until(&client, &device.id, 1, Some(device.end()), parked).await;
    for server in [mysql, mariadb] {
        let rows = try_query(server, &format!("SELECT * FROM `{}__app`.t", device.id)).await;
        assert_eq!(rows.expect("the table"), [""; 0]);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_waits_while_a_shard_that_may_hold_it_is_away() {
    let (nats, book) = (nats(), book());
    let (mut away, here) = (server(Flavour::MariaDb), shard::server(Flavour::MySql));
    let mut device = Device::new(&unique("dev"));
    let rule = format!(
        "[[routing.rules]]\nkind = \"pin\"\ndevice = \"{}\"\nshard = \"here\"\n",
        device.id
    );
    let shards = [("away", away.port()), ("here", here.port())];
    away.kill();
    let worker = start(&Setup { more: &rule, ..setup(nats.url(), &shards, &book) }).await;
    let client = connect(&nats).await;
    device.ddl(SIMPLE);
    publish(&client, &device.id.clone(), device.seal()).await;
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let reply = worker::heartbeat(&client, &device.id, 1, Some(device.end())).await;
        assert_eq!(reply, None, "an answer would say that the device is new");
    }
    away.restart().expect("it comes back");
    let select = format!("SELECT COUNT(*) FROM `{}__app`.t", device.id);
    eventually(here, &select, &["0"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preflight_is_content_with_what_the_tests_run_on() {
    let (nats, book) = (nats(), book());
    let shards = [
        ("m", shard::server(Flavour::MySql).port()),
        ("d", shard::server(Flavour::MariaDb).port()),
    ];
    let settings = worker::settings(&setup(nats.url(), &shards, &book));
    let findings = preflight::check(&settings).await;
    assert!(preflight::is_good(&findings), "{findings:#?}");
    assert!(findings.len() > 10, "{findings:#?}");
}
