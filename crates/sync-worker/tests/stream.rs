//! From JetStream to the shards and back to the publisher.

use crate::device::{Device, row, simple};
use crate::lab::{SIMPLE, book, nats, select, setup};
use crate::shard::{self, unique};
use crate::worker::{connect, eventually, heartbeat_until, publish, start};
use tributary_testkit::Flavour;
use tributary_wire::{DeviceId, Directive};

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_many_devices_reach_both_shards_and_heartbeats_say_so() {
    let (nats, book) = (nats(), book());
    let (mysql, mariadb) = (shard::server(Flavour::MySql), shard::server(Flavour::MariaDb));
    let worker =
        start(&setup("w", nats.url(), &[("m", mysql.port()), ("d", mariadb.port())], &book)).await;
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
    let worker =
        start(&setup("w", nats.url(), &[("m", shard::server(Flavour::MySql).port())], &book)).await;
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
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
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
async fn a_message_that_is_no_batch_parks_only_its_device() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    let id: DeviceId = unique("bad").parse().expect("valid");
    publish(&client, &id, b"TRB\x01nonsense".to_vec()).await;
    heartbeat_until(&client, &id, 1, None, |reply| {
        matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("cannot be read"))
    })
    .await;
    // What is not even the beginning of a batch is dropped, and the device goes on.
    let mut device = Device::new(&unique("odd"));
    publish(&client, &device.id.clone(), br#"{"stream":"CHANGES","seq":7}"#.to_vec()).await;
    device.ddl(SIMPLE);
    device.insert(&simple("t"), row(1, "x"));
    publish(&client, &device.id.clone(), device.seal()).await;
    eventually(mysql, &select(&device.id), &["1|x"]).await;
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
