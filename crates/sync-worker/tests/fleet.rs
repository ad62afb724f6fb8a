//! Several workers, what they know of each other, and what someone else writes where they look.

use crate::device::{Device, row, simple};
use crate::lab::{SIMPLE, book, nats, select, setup};
use crate::shard::{self, unique};
use crate::worker::{
    self, DEADLINE, Setup, connect, eventually, heartbeat, heartbeat_until, publish, settings,
    spawn, start,
};
use async_nats::jetstream::kv::Store;
use futures_util::StreamExt;
use std::time::{Duration, Instant};
use tributary_sync_worker::operate;
use tributary_sync_worker::preflight::{self, Verdict};
use tributary_testkit::{Flavour, NatsServer};
use tributary_wire::{DeviceId, Directive, HeartbeatRequest};

async fn bucket(nats: &NatsServer, name: &str) -> Store {
    let context = async_nats::jetstream::new(connect(nats).await);
    context.get_key_value(name).await.expect("the bucket is there")
}

/// Waits until the worker owns every partition: devices of each are answered.
async fn is_at_work(client: &async_nats::Client) {
    for _ in 0..16 {
        let id: DeviceId = unique("probe").parse().expect("valid");
        heartbeat_until(client, &id, 1, None, |_| true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_with_one_id_the_later_one_ends_and_the_first_says_so() {
    let (nats, book) = (nats(), book());
    let shards = [("m", shard::server(Flavour::MySql).port())];
    let first = spawn(&setup("w", nats.url(), &shards, &book));
    let client = connect(&nats).await;
    is_at_work(&client).await;
    let leases = bucket(&nats, "tributary_leases").await;
    let before = leases.entry("partition.3").await.expect("read").expect("a lease").revision;
    let mut second = spawn(&setup("w", nats.url(), &shards, &book));
    let status = second.child.wait(DEADLINE).expect("the second ends");
    assert!(!status.success());
    second.says(&["another worker is called", "worker.id"]).await;
    first.says(&["WARN", "two workers have the same worker.id"]).await;
    let told = first.log().matches("two workers have the same").count();
    assert_eq!(told, 1, "{}", first.log());
    let after = leases.entry("partition.3").await.expect("read").expect("a lease").revision;
    assert_eq!(before, after, "the first has lost no lease");
    let findings = preflight::check(&settings(&setup("x", nats.url(), &shards, &book))).await;
    let workers = findings.iter().find(|finding| finding.subject == "workers").expect("looked at");
    assert!(
        matches!(&workers.verdict, Verdict::Doubtful(text) if text.contains("one worker.id")),
        "{workers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_killed_is_followed_by_one_of_its_name() {
    let (nats, book) = (nats(), book());
    let shards = [("m", shard::server(Flavour::MySql).port())];
    let client = connect(&nats).await;
    for _ in 0..2 {
        let mut worker = spawn(&setup("w", nats.url(), &shards, &book));
        is_at_work(&client).await;
        worker.child.kill().expect("killed");
    }
}

/// Signs of life and leases that no worker has written, as a forged reply subject would leave them.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_has_written_takes_no_partition_and_no_generation() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    is_at_work(&client).await;
    let workers = bucket(&nats, "tributary_workers").await;
    let leases = bucket(&nats, "tributary_leases").await;
    let forged = r#"{"stream":"CHANGES","seq":7}"#;
    let until = Instant::now() + Duration::from_secs(4);
    let mut device = Device::new(&unique("dev"));
    device.ddl(SIMPLE);
    let mut id = 0;
    while Instant::now() < until {
        for n in 0..20 {
            workers.put(format!("worker.ghost{n}"), forged.into()).await.expect("written");
        }
        workers.put("worker.w", forged.into()).await.expect("written");
        if id == 0 {
            for partition in 0..8 {
                let key = format!("partition.{partition}");
                leases.put(key, forged.into()).await.expect("written");
            }
        }
        id += 1;
        device.insert(&simple("t"), row(id, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows: Vec<String> = (1..=id).map(|id| format!("{id}|x")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    eventually(mysql, &select(&device.id), &rows).await;
    is_at_work(&client).await;
    for partition in 0..8 {
        let lease =
            leases.get(format!("partition.{partition}")).await.expect("read").expect("there");
        let lease: serde_json::Value = serde_json::from_slice(&lease).expect("a lease again");
        assert_eq!(lease["owner"], "w");
        assert!(lease["generation"].as_u64() > Some(1), "{lease}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_answered_in_its_devices_own_inbox_and_nowhere_else() {
    let (nats, book) = (nats(), book());
    let shards = [("m", shard::server(Flavour::MySql).port())];
    let worker = start(&setup("w", nats.url(), &shards, &book)).await;
    let client = connect(&nats).await;
    is_at_work(&client).await;
    let device = Device::new(&unique("dev"));
    let request = HeartbeatRequest {
        device: device.id.clone(),
        run: 1,
        source: "s".into(),
        published: None,
        head: None,
        version: "test".into(),
        retention: None,
        snapshot: None,
    };
    let own = device.id.inbox_prefix();
    let elsewhere = [
        "device.other.changes".to_owned(),
        format!("{own}2.x"),
        own.clone(),
        "_INBOX.x".to_owned(),
    ];
    let mut everything = client.subscribe(">").await.expect("subscribes");
    for reply in elsewhere.iter().chain([&format!("{own}.last")]) {
        let (subject, payload) = (device.id.heartbeat_subject(), request.encode().into());
        client.publish_with_reply(subject, reply.clone(), payload).await.expect("published");
        // One of a device is answered at a time, and only the newest of those that wait.
        client.flush().await.expect("flushed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    loop {
        let message = tokio::time::timeout(DEADLINE, everything.next()).await.expect("answered");
        let subject = message.expect("goes on").subject;
        assert!(!elsewhere.iter().any(|reply| *reply == *subject), "answered on {subject}");
        if *subject == format!("{own}.last") {
            break;
        }
    }
    worker.stop().await;
}

/// A device without watermark that says again and again that it stands at its log's beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_has_published_nothing_has_lost_nothing() {
    let (nats, book) = (nats(), book());
    let shards = [("m", shard::server(Flavour::MySql).port())];
    let worker = start(&setup("w", nats.url(), &shards, &book)).await;
    let client = connect(&nats).await;
    let id: DeviceId = unique("new").parse().expect("valid");
    let beginning = Some(tributary_wire::Position::beginning(1));
    heartbeat_until(&client, &id, 1, beginning, |_| true).await;
    for _ in 0..5 {
        let reply = heartbeat_until(&client, &id, 1, beginning, |_| true).await;
        assert_eq!((reply.applied, reply.directive), (None, None));
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_in_a_shards_place_is_noticed_while_its_devices_are_quiet() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    device.ddl(SIMPLE);
    device.insert(&simple("t"), row(1, "x"));
    let log = device.seal();
    publish(&client, &device.id.clone(), log.clone()).await;
    eventually(mysql, &select(&device.id), &["1|x"]).await;
    let mut operator = shard::connect(mysql, &unique("other").replace('-', "_")).await;
    shard::run(&mut operator, &format!("DROP DATABASE `{}__app`", device.id)).await;
    shard::run(&mut operator, &format!("DROP DATABASE {book}")).await;
    worker.says(&["ERROR", "bookkeeping is gone"]).await;
    let end = Some(device.end());
    heartbeat_until(&client, &device.id, 1, end, |reply| {
        reply.applied.is_none() && reply.directive == Some(Directive::Rewind { run: 1 })
    })
    .await;
    publish(&client, &device.id.clone(), log).await;
    eventually(mysql, &select(&device.id), &["1|x"]).await;
}

/// The list of shards is changed one worker after the other, with a slip in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_list_lacks_a_shard_gives_no_device_a_second_home() {
    let (nats, book) = (nats(), book());
    let (mysql, mariadb) = (shard::server(Flavour::MySql), shard::server(Flavour::MariaDb));
    let (m, d) = (("m", mysql.port()), ("d", mariadb.port()));
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    let id = device.id.clone();
    let rule = format!("[[routing.rules]]\nkind = \"pin\"\ndevice = \"{id}\"\nshard = \"d\"\n");
    // A worker with the old list, then one with the new, which has the device's home.
    let old = spawn(&setup("old", nats.url(), &[m], &book));
    is_at_work(&client).await;
    let new = start(&Setup { more: &rule, ..setup("new", nats.url(), &[m, d], &book) }).await;
    old.says(&["ERROR", "list lacks d"]).await;
    device.ddl(SIMPLE);
    let mut log = vec![device.seal()];
    publish(&client, &id, log[0].clone()).await;
    // Whichever of them has its partition, the old one does not give it a home.
    drop(old);
    worker::caught_up_or_rewound(&client, &device, &log).await;
    assert_eq!(shard::try_query(mariadb, &select(&id)).await, Some(vec![]));
    assert_eq!(shard::try_query(mysql, &select(&id)).await, None, "a second home");
    new.stop().await;
    // The same with a list that has a slip in it: nothing of the device is done.
    let slip = setup("slip", nats.url(), &[m], &book);
    let worker = spawn(&slip);
    worker.says(&["ERROR", "list lacks d (127.0.0.1", "retire d"]).await;
    device.insert(&simple("t"), row(1, "x"));
    log.push(device.seal());
    publish(&client, &id, log[1].clone()).await;
    for _ in 0..3 {
        assert_eq!(heartbeat(&client, &id, 1, Some(device.end())).await, None);
    }
    let findings = preflight::check(&settings(&slip)).await;
    let list = findings.iter().find(|finding| finding.subject == "list of shards").expect("one");
    assert!(matches!(&list.verdict, Verdict::Bad(text) if text.contains("retire d")), "{list:?}");
    assert_eq!(shard::try_query(mysql, &select(&id)).await, None, "a second home");
    drop(worker);
    // Under another name it is the same shard.
    let renamed = start(&setup("renamed", nats.url(), &[m, ("e", mariadb.port())], &book)).await;
    worker::caught_up_or_rewound(&client, &device, &log).await;
    eventually(mariadb, &select(&id), &["1|x"]).await;
    renamed.stop().await;
    // The remedies that the complaint names are refused while they are wrong, and work when they are followed.
    let with_it = settings(&setup("x", nats.url(), &[m, d], &book));
    let refused = operate::retire(&with_it, "d").await.expect_err("it is still there");
    assert!(refused.to_string().contains("take it out of [[shards]]"), "{refused}");
    let without = settings(&slip);
    for name in ["d", "e"] {
        operate::retire(&without, name).await.expect("retired");
    }
    assert!(operate::retire(&without, "d").await.is_err());
    let worker = start(&slip).await;
    let reply = heartbeat_until(&client, &id, 2, None, |_| true).await;
    assert_eq!(reply.applied, None, "it is a new device there");
    worker.stop().await;
}
