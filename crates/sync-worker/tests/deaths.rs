//! Whatever is killed, nothing is lost and nothing is made twice.

use crate::device::{Device, row, simple};
use crate::lab::{SIMPLE, book, copied, counts, indexes, keyless_log, nats, select, server, setup};
use crate::lab::{snapshot_log, totals};
use crate::shard::{self, unique};
use crate::worker::{self, connect, eventually, publish, start};
use std::time::{Duration, Instant};
use tributary_testkit::{Flavour, Proxy};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_again_and_again_loses_and_repeats_nothing() {
    let (nats, book) = (nats(), book());
    for flavour in Flavour::ALL {
        let mysql = shard::server(flavour);
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let messages = keyless_log(&mut device, 200, 40);
        for chunk in messages.chunks(40) {
            let process = worker::spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
            for message in chunk {
                publish(&client, &device.id, message.clone()).await;
            }
            process.kill_at_some_time().await;
        }
        let process = worker::spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
        eventually(mysql, &counts(&device.id), &["200|200|b|b"]).await;
        eventually(mysql, &indexes(&device.id), &["6"]).await;
        drop(process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_during_a_snapshot_loses_and_repeats_nothing() {
    let (nats, book) = (nats(), book());
    for flavour in Flavour::ALL {
        let mysql = shard::server(flavour);
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let messages = snapshot_log(&mut device);
        for chunk in messages.chunks(9) {
            let process = worker::spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
            for message in chunk {
                publish(&client, &device.id, message.clone()).await;
            }
            process.kill_at_some_time().await;
        }
        // Two share the partitions from now on, and all is published again, as after a rewind.
        let processes = ["w", "v"]
            .map(|id| worker::spawn(&setup(id, nats.url(), &[("m", mysql.port())], &book)));
        for message in &messages {
            publish(&client, &device.id, message.clone()).await;
        }
        eventually(mysql, &copied(&device.id), &["200|160|40|40|1|2"]).await;
        eventually(mysql, &totals(&device.id, &book), &["200|43|0"]).await;
        drop(processes);
    }
}

/// With which settings of the allocator and of the driver a process runs.
#[cfg(target_os = "linux")]
fn memory_settings(process: u32) -> Vec<String> {
    let environment = std::fs::read(format!("/proc/{process}/environ")).expect("reads");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let value = |name: &str| {
        let variables = environment.split('\0').filter_map(|variable| variable.split_once('='));
        variables.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
    };
    ["MALLOC_MMAP_THRESHOLD_", "MYSQL_ASYNC_BUFFER_SIZE_CAP"]
        .iter()
        .flat_map(|n| value(n))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_ends_cleanly_and_gives_its_leases_back() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    device.ddl(SIMPLE);
    let mut process = worker::spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
    let deadline = Instant::now() + worker::DEADLINE;
    while async_nats::jetstream::new(client.clone()).get_stream("CHANGES").await.is_err() {
        assert!(Instant::now() < deadline, "no stream: {}", process.log());
    }
    publish(&client, &device.id.clone(), device.seal()).await;
    eventually(mysql, &select(&device.id), &[]).await;
    #[cfg(target_os = "linux")]
    assert_eq!(memory_settings(process.child.pid()), ["131072", "65536"]);
    let status = process.child.terminate(Duration::from_secs(20)).expect("it ends");
    assert!(status.success(), "{status}: {}", process.log());
    assert_eq!(owners(&client).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_the_partitions_and_one_takes_over_from_a_dead_one() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let mut first = worker::spawn(&setup("w1", nats.url(), &[("m", mysql.port())], &book));
    let second = start(&setup("w2", nats.url(), &[("m", mysql.port())], &book)).await;
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
    let both = |owners: &[String]| ["w1", "w2"].iter().all(|w| owners.iter().any(|o| o == w));
    eventually_owned(&client, both).await;
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
async fn a_worker_that_comes_back_lets_go_of_what_it_held_alone() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let shards = [("m", mysql.port())];
    let client = connect(&nats).await;
    let mut alone = worker::spawn(&setup("w1", nats.url(), &shards, &book));
    let all = |owners: &[String], n| owners.iter().filter(|owner| *owner == "w1").count() == n;
    eventually_owned(&client, |owners| all(owners, 8)).await;
    // It is back before anyone takes it for dead, and shares with another now.
    alone.child.kill().expect("killed");
    let other = start(&setup("w2", nats.url(), &shards, &book)).await;
    let back = worker::spawn(&setup("w1", nats.url(), &shards, &book));
    let both = |owners: &[String]| owners.len() == 8 && owners.iter().any(|owner| owner == "w2");
    eventually_owned(&client, both).await;
    for _ in 0..12 {
        let mut device = Device::new(&unique("dev"));
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
        eventually(mysql, &select(&device.id), &["1|x"]).await;
    }
    other.stop().await;
    drop(back);
}

/// Waits until the leases are held as wanted.
async fn eventually_owned(client: &async_nats::Client, wanted: impl Fn(&[String]) -> bool) {
    let deadline = Instant::now() + worker::DEADLINE;
    let context = async_nats::jetstream::new(client.clone());
    loop {
        let made = context.get_key_value("tributary_leases").await.is_ok();
        let owners = if made { owners(client).await } else { Vec::new() };
        if wanted(&owners) {
            return;
        }
        assert!(Instant::now() < deadline, "the leases are held by {owners:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
async fn a_shard_that_is_killed_again_and_again_gets_every_change_once() {
    for flavour in Flavour::ALL {
        let (nats, book, mut mysql) = (nats(), book(), server(flavour));
        let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        let messages = keyless_log(&mut device, 300, 50);
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
async fn a_nats_that_lost_everything_is_provisioned_again_and_the_device_goes_on() {
    let (mut nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
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
async fn a_link_to_nats_that_breaks_swallows_nothing_for_good() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MySql));
    let proxy = Proxy::start(nats.address()).expect("a proxy");
    let url = format!("nats://{}", proxy.addr());
    let worker = start(&setup("w", url, &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    for (n, message) in keyless_log(&mut device, 200, 50).into_iter().enumerate() {
        publish(&client, &device.id, message).await;
        if n % 50 == 25 {
            proxy.cut().expect("cut");
            proxy.heal().expect("healed");
        }
    }
    eventually(mysql, &counts(&device.id), &["200|200|b|b"]).await;
    worker.stop().await;
}
