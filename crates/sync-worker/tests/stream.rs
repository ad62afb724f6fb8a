//! From JetStream to the shards and back to the publisher.

use crate::device::{Change, Device, row, simple};
use crate::shard::{self, unique};
use crate::worker::{self, Setup, connect, eventually, heartbeat_until, publish, start};
use futures_util::StreamExt;
use std::time::{Duration, Instant};
use tributary_sync_worker::config::StreamConfig;
use tributary_sync_worker::provision;
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer};
use tributary_wire::{DeviceId, Directive, partition};

const SIMPLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARACTER SET utf8mb4";

fn nats() -> NatsServer {
    NatsServer::start(&NatsOptions::default()).expect("nats-server starts")
}

fn setup<'a>(
    id: &'a str,
    nats: &NatsServer,
    shards: &[(&'a str, &MySqlServer)],
    bookkeeping: &'a str,
) -> Setup<'a> {
    Setup {
        id,
        nats: nats.url(),
        shards: shards.iter().map(|(name, server)| (*name, server.port())).collect(),
        bookkeeping,
        more: "",
    }
}

fn book() -> String {
    unique("book").replace('-', "_")
}

fn server() -> MySqlServer {
    let options = MySqlOptions { durable: false, ..MySqlOptions::target() };
    MySqlServer::start(Flavour::MariaDb, &options).expect("a server starts")
}

fn select(device: &DeviceId) -> String {
    format!("SELECT id, v FROM `{device}__app`.t ORDER BY id")
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_many_devices_reach_both_shards_and_heartbeats_say_so() {
    let (nats, book) = (nats(), book());
    let (mysql, mariadb) = (shard::server(Flavour::MySql), shard::server(Flavour::MariaDb));
    let worker = start(&setup("w", &nats, &[("m", mysql), ("d", mariadb)], &book)).await;
    let client = connect(&nats).await;
    let mut devices: Vec<Device> = (0..10).map(|_| Device::new(&unique("dev"))).collect();
    for device in &mut devices {
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
        for id in 1..=5 {
            device.insert(&simple("t"), row(id, "x"));
            let message = device.seal();
            publish(&client, &device.id.clone(), message.clone()).await;
            // Every message twice: a publisher that did not see the acknowledgement.
            publish(&client, &device.id.clone(), message).await;
        }
    }
    let mut held = [0, 0];
    for device in &devices {
        let end = Some(device.end());
        let reply = heartbeat_until(&client, &device.id, 1, end, |reply| {
            reply.applied.as_ref().is_some_and(|applied| Some(applied.position) == end)
        })
        .await;
        assert_eq!(reply.directive, None);
        let m = shard::try_query(mysql, &select(&device.id)).await;
        let d = shard::try_query(mariadb, &select(&device.id)).await;
        let there = if m.is_some() { 0 } else { 1 };
        held[there] += 1;
        assert_eq!(m.or(d).expect("at one shard"), ["1|x", "2|x", "3|x", "4|x", "5|x"]);
    }
    assert!(held.iter().all(|count| *count > 0), "one shard has all devices: {held:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_device_is_told_that_nothing_is_applied() {
    let (nats, book) = (nats(), book());
    let worker = start(&setup("w", &nats, &[("m", shard::server(Flavour::MySql))], &book)).await;
    let client = connect(&nats).await;
    let id: DeviceId = unique("new").parse().expect("valid");
    let reply = heartbeat_until(&client, &id, 1, None, |_| true).await;
    assert_eq!((reply.applied, reply.directive), (None, None));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_and_a_loss_at_the_end_are_answered_with_a_rewind() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = start(&setup("w", &nats, &[("m", mysql)], &book)).await;
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    let id = device.id.clone();
    device.ddl(SIMPLE);
    publish(&client, &id, device.seal()).await;
    device.insert(&simple("t"), row(1, "lost"));
    let lost = device.seal();
    device.insert(&simple("t"), row(2, "beyond"));
    let beyond = device.seal();
    publish(&client, &id, beyond.clone()).await;
    let wants_rewind = |reply: &tributary_wire::HeartbeatReply| {
        reply.directive == Some(Directive::Rewind { run: 1 })
    };
    heartbeat_until(&client, &id, 1, Some(device.end()), wants_rewind).await;
    publish(&client, &id, lost).await;
    publish(&client, &id, beyond).await;
    eventually(mysql, &select(&id), &["1|lost", "2|beyond"]).await;
    let reply = heartbeat_until(&client, &id, 1, Some(device.end()), |_| true).await;
    assert_eq!(reply.directive, None);

    // The newest batch never arrives, and no later one shows the gap.
    device.insert(&simple("t"), row(3, "tail"));
    let tail = device.seal();
    heartbeat_until(&client, &id, 1, Some(device.end()), wants_rewind).await;
    publish(&client, &id, tail).await;
    eventually(mysql, &select(&id), &["1|lost", "2|beyond", "3|tail"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_data_are_refused_is_parked_alone_and_goes_on_after_its_release() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let configuration = setup("w", &nats, &[("m", mysql)], &book);
    let worker = start(&configuration).await;
    let client = connect(&nats).await;
    let (mut bad, mut good) = (Device::new(&unique("bad")), Device::new(&unique("good")));
    for device in [&mut bad, &mut good] {
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
        eventually(mysql, &select(&device.id), &[]).await;
    }
    let mut by_hand = shard::connect(mysql, &book).await;
    let break_it = format!("ALTER TABLE `{}__app`.t MODIFY v VARCHAR(3)", bad.id);
    shard::run(&mut by_hand, &break_it).await;
    for device in [&mut bad, &mut good] {
        device.insert(&simple("t"), row(1, "too long"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    eventually(mysql, &select(&good.id), &["1|too long"]).await;
    let parked = |reply: &tributary_wire::HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("too long"));
    heartbeat_until(&client, &bad.id, 1, Some(bad.end()), parked).await;
    let settings = worker::settings(&configuration);
    let list = tributary_sync_worker::operate::parked(&settings).await.expect("lists");
    assert_eq!(list.iter().map(|one| &one.device).collect::<Vec<_>>(), [&bad.id]);

    let mend = format!("ALTER TABLE `{}__app`.t MODIFY v VARCHAR(100)", bad.id);
    shard::run(&mut by_hand, &mend).await;
    tributary_sync_worker::operate::release(&settings, &bad.id, false).await.expect("releases");
    // What was dropped is asked for again.
    heartbeat_until(&client, &bad.id, 1, Some(bad.end()), |reply| {
        reply.directive == Some(Directive::Rewind { run: 1 })
    })
    .await;
    let mut again = Device::with_source(bad.id.as_str(), "source-a", 2);
    again.ddl(SIMPLE);
    again.insert(&simple("t"), row(1, "too long"));
    publish(&client, &bad.id, again.seal()).await;
    eventually(mysql, &select(&bad.id), &["1|too long"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_batch_parks_only_its_device() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = start(&setup("w", &nats, &[("m", mysql)], &book)).await;
    let client = connect(&nats).await;
    let id: DeviceId = unique("bad").parse().expect("valid");
    publish(&client, &id, b"nonsense".to_vec()).await;
    heartbeat_until(&client, &id, 1, None, |reply| {
        matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("not a batch"))
    })
    .await;
    // A batch of another device, published under this one's subject.
    let (victim, liar) = (Device::new(&unique("victim")), unique("liar"));
    let mut victim = victim;
    victim.ddl(SIMPLE);
    let liar: DeviceId = liar.parse().expect("valid");
    publish(&client, &liar, victim.seal()).await;
    heartbeat_until(&client, &liar, 1, None, |reply| {
        matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("published by"))
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_killed_delays_no_other_and_catches_up() {
    let (nats, book) = (nats(), book());
    let (mut fragile, stable) = (server(), shard::server(Flavour::MySql));
    let (mut one, mut two) = (Device::new(&unique("one")), Device::new(&unique("two")));
    let rules = format!(
        "[[routing.rules]]\nkind = \"pin\"\ndevice = \"{}\"\nshard = \"fragile\"\n\
         [[routing.rules]]\nkind = \"pin\"\ndevice = \"{}\"\nshard = \"stable\"\n",
        one.id, two.id
    );
    let shards = [("fragile", &fragile), ("stable", stable)];
    let worker = start(&Setup { more: &rules, ..setup("w", &nats, &shards, &book) }).await;
    let client = connect(&nats).await;
    for device in [&mut one, &mut two] {
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    eventually(&fragile, &select(&one.id), &[]).await;
    eventually(stable, &select(&two.id), &[]).await;
    fragile.kill();
    let mut kept = Vec::new();
    for id in 1..=20 {
        one.insert(&simple("t"), row(id, "x"));
        kept.push(one.seal());
        publish(&client, &one.id.clone(), kept[kept.len() - 1].clone()).await;
        two.insert(&simple("t"), row(id, "x"));
        publish(&client, &two.id.clone(), two.seal()).await;
    }
    let rows: Vec<String> = (1..=20).map(|id| format!("{id}|x")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    eventually(stable, &select(&two.id), &rows).await;
    fragile.restart().expect("the shard comes back");
    // Whatever was dropped meanwhile is asked for, and published again.
    let end = Some(one.end());
    let reply = heartbeat_until(&client, &one.id, 1, end, |reply| {
        reply.directive.is_some()
            || reply.applied.as_ref().is_some_and(|applied| Some(applied.position) == end)
    })
    .await;
    if reply.directive.is_some() {
        for message in kept {
            publish(&client, &one.id, message).await;
        }
    }
    eventually(&fragile, &select(&one.id), &rows).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_partitions_and_one_takes_over_from_a_dead_one() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let mut first = worker::spawn(&setup("w1", &nats, &[("m", mysql)], &book));
    let second = start(&setup("w2", &nats, &[("m", mysql)], &book)).await;
    let client = connect(&nats).await;
    let mut devices: Vec<Device> = (0..12).map(|_| Device::new(&unique("dev"))).collect();
    for device in &mut devices {
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &devices {
        eventually(mysql, &select(&device.id), &["1|x"]).await;
    }
    let deadline = Instant::now() + worker::DEADLINE;
    let both = |owners: &[String]| ["w1", "w2"].iter().all(|w| owners.iter().any(|o| o == w));
    while !both(&owners(&client).await) {
        assert!(Instant::now() < deadline, "the second worker got no partition");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.child.kill().expect("killed");
    for device in &mut devices {
        device.insert(&simple("t"), row(2, "y"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &devices {
        eventually(mysql, &select(&device.id), &["1|x", "2|y"]).await;
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let (nats, book) = (nats(), book());
    for flavour in Flavour::ALL {
        let server = shard::server(flavour);
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let id = device.id.clone();
        // Without a key, so that a change applied twice or left out shows.
        device.ddl("CREATE TABLE t (id INT, v VARCHAR(100))");
        let columns = simple("t").columns.clone();
        let t = crate::device::table("t", columns, 0);
        let mut messages = vec![device.seal()];
        for n in 0..200 {
            device.transaction(
                &t,
                &[
                    Change::Insert(row(n, "a")),
                    Change::Update(row(n, "a"), row(n, "b")),
                    Change::Insert(row(n, "c")),
                    Change::Delete(row(n, "c")),
                ],
            );
            if n % 40 == 20 {
                device.ddl(&format!("ALTER TABLE t ADD INDEX (id), COMMENT='{n}'"));
            }
            messages.push(device.seal());
        }
        for chunk in messages.chunks(40) {
            let mut process = worker::spawn(&setup("w", &nats, &[("m", server)], &book));
            for message in chunk {
                publish(&client, &id, message.clone()).await;
            }
            process.child.kill().expect("killed");
        }
        let process = worker::spawn(&setup("w", &nats, &[("m", server)], &book));
        let sql = format!("SELECT COUNT(*), COUNT(DISTINCT id), MIN(v), MAX(v) FROM `{id}__app`.t");
        eventually(server, &sql, &["200|200|b|b"]).await;
        let sql = format!(
            "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics WHERE table_schema='{id}__app'"
        );
        eventually(server, &sql, &["5"]).await;
        drop(process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_ends_cleanly_and_gives_its_leases_back() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    device.ddl(SIMPLE);
    let mut process = worker::spawn(&setup("w", &nats, &[("m", mysql)], &book));
    let deadline = Instant::now() + worker::DEADLINE;
    while async_nats::jetstream::new(client.clone()).get_stream("CHANGES").await.is_err() {
        assert!(Instant::now() < deadline, "no stream: {}", process.log());
    }
    publish(&client, &device.id.clone(), device.seal()).await;
    eventually(mysql, &select(&device.id), &[]).await;
    let status = process.child.terminate(Duration::from_secs(20)).expect("it ends");
    assert!(status.success(), "{status}: {}", process.log());
    assert_eq!(owners(&client).await, [""; 0]);
}

/// Who holds the leases.
async fn owners(client: &async_nats::Client) -> Vec<String> {
    let context = async_nats::jetstream::new(client.clone());
    let leases = context.get_key_value("tributary_leases").await.expect("the bucket");
    let mut owners = Vec::new();
    for p in 0..8 {
        let held = tributary_sync_worker::lease::read(&leases, p).await.expect("a lease");
        owners.extend(held.lease.owner);
    }
    owners
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_lost_everything_is_provisioned_again_and_the_device_goes_on() {
    let (mut nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = start(&setup("w", &nats, &[("m", mysql)], &book)).await;
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    let id = device.id.clone();
    device.ddl(SIMPLE);
    device.insert(&simple("t"), row(1, "before"));
    publish(&client, &id, device.seal()).await;
    eventually(mysql, &select(&id), &["1|before"]).await;
    nats.kill();
    nats.wipe().expect("wiped");
    nats.restart().expect("nats-server comes back");
    device.insert(&simple("t"), row(2, "after"));
    publish(&client, &id, device.seal()).await;
    eventually(mysql, &select(&id), &["1|before", "2|after"]).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_another_number_of_partitions_is_refused() {
    let nats = nats();
    let context = async_nats::jetstream::new(connect(&nats).await);
    let config =
        |partitions| StreamConfig { partitions, max_gib: Some(1), ..StreamConfig::default() };
    let ttl = Duration::from_secs(3);
    provision::reconcile(&context, &config(8), ttl).await.expect("created");
    provision::reconcile(&context, &config(8), ttl).await.expect("idempotent");
    let error = provision::reconcile(&context, &config(16), ttl).await.expect_err("refused");
    assert!(error.to_string().contains("partition(8,1)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_refused_with_the_remedy() {
    let options = NatsOptions { jetstream: false, ..NatsOptions::default() };
    let nats = NatsServer::start(&options).expect("nats-server starts");
    let settings =
        worker::settings(&setup("w", &nats, &[("m", shard::server(Flavour::MySql))], "book"));
    let error =
        tributary_sync_worker::nats::connect(&settings.nats, "w").await.expect_err("refused");
    assert!(error.to_string().contains("add `jetstream"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_partition_function_is_the_servers() {
    let nats = nats();
    let client = connect(&nats).await;
    let context = async_nats::jetstream::new(client.clone());
    let config = StreamConfig { partitions: 64, max_gib: Some(1), ..StreamConfig::default() };
    let ttl = Duration::from_secs(3);
    let made = provision::reconcile(&context, &config, ttl).await.expect("created");
    let ids: Vec<DeviceId> = (0..1000)
        .map(|i| {
            if i % 2 == 0 {
                format!("DEVICE_{i:03}")
            } else {
                format!("till-{i}-é").replace('é', "x")
            }
        })
        .map(|id| id.parse().expect("valid"))
        .collect();
    for id in &ids {
        context
            .publish(id.changes_subject(), "x".into())
            .await
            .expect("published")
            .await
            .expect("stored");
    }
    let mut subjects = made.stream.info_with_subjects("changes.>").await.expect("subjects");
    let mut seen = 0;
    while let Some(subject) = subjects.next().await {
        let (subject, _) = subject.expect("a subject");
        let id = DeviceId::from_subject(&subject).expect("a device");
        assert_eq!(subject, format!("changes.{}.{id}", partition(&id, 64)));
        seen += 1;
    }
    assert_eq!(seen, 1000);
}
