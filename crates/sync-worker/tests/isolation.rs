//! What befalls one device or one shard is nobody else's concern.

use crate::device::{Device, row, simple};
use crate::lab::{SIMPLE, book, counts, keyless_log, nats, select, server, setup};
use crate::shard::{self, query, run, target, try_query, unique};
use crate::worker::{self, Setup, connect, eventually, publish, start};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_sync_worker::apply;
use tributary_sync_worker::classify::{Class, classify};
use tributary_testkit::Flavour;
use tributary_wire::{Batch, DeviceId};

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_killed_delays_no_other_and_catches_up() {
    let (nats, book) = (nats(), book());
    let (mut fragile, stable) = (server(Flavour::MariaDb), shard::server(Flavour::MySql));
    let (mut one, mut two) = (Device::new(&unique("one")), Device::new(&unique("two")));
    let rules = format!(
        "[[routing.rules]]\nkind = \"pin\"\ndevice = \"{}\"\nshard = \"fragile\"\n\
         [[routing.rules]]\nkind = \"pin\"\ndevice = \"{}\"\nshard = \"stable\"\n",
        one.id, two.id
    );
    let shards = [("fragile", fragile.port()), ("stable", stable.port())];
    let worker = start(&Setup { more: &rules, ..setup("w", nats.url(), &shards, &book) }).await;
    let client = connect(&nats).await;
    for device in [&mut one, &mut two] {
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    eventually(&fragile, &select(&one.id), &[]).await;
    eventually(stable, &select(&two.id), &[]).await;
    fragile.kill();
    for id in 1..=20 {
        one.insert(&simple("t"), row(id, "x"));
        publish(&client, &one.id.clone(), one.seal()).await;
        two.insert(&simple("t"), row(id, "x"));
        publish(&client, &two.id.clone(), two.seal()).await;
    }
    let rows: Vec<String> = (1..=20).map(|id| format!("{id}|x")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    eventually(stable, &select(&two.id), &rows).await;
    fragile.restart().expect("the shard comes back");
    // Nothing is published again: what was left behind is still in the stream.
    eventually(&fragile, &select(&one.id), &rows).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_someone_locks_as_a_whole_is_down_until_it_is_free() {
    for flavour in Flavour::ALL {
        let (nats, book, mysql) = (nats(), book(), server(flavour));
        let worker = worker::spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
        let client = connect(&nats).await;
        let mut devices: Vec<Device> = (0..12).map(|_| Device::new(&unique("dev"))).collect();
        for device in &mut devices {
            device.ddl(SIMPLE);
            publish(&client, &device.id.clone(), device.seal()).await;
        }
        for device in &devices {
            eventually(&mysql, &select(&device.id), &[]).await;
        }
        // As a backup does.
        let mut backup = shard::connect(&mysql, &book).await;
        run(&mut backup, "FLUSH TABLES WITH READ LOCK").await;
        for device in &mut devices {
            device.insert(&simple("t"), row(1, "x"));
            publish(&client, &device.id.clone(), device.seal()).await;
        }
        worker.says(&["the shard is down"]).await;
        run(&mut backup, "UNLOCK TABLES").await;
        for device in &devices {
            eventually(&mysql, &select(&device.id), &["1|x"]).await;
        }
    }
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
        let mut messages = keyless_log(&mut device, 100, 1000).into_iter();
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
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
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
    let worker = start(&Setup { more: &rule, ..setup("w", nats.url(), &shards, &book) }).await;
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

/// Sends the process a signal.
fn signal(process: u32, name: &str) {
    let status = std::process::Command::new("kill").args([name, &process.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_freezes_inside_a_transaction_keeps_its_devices_for_a_moment_only() {
    for flavour in Flavour::ALL {
        let (nats, book, mysql) = (nats(), book(), server(flavour));
        let shards = [("m", mysql.port())];
        let frozen = worker::spawn(&setup("w", nats.url(), &shards, &book));
        let client = connect(&nats).await;
        let mut device = Device::new(&unique("dev"));
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
        eventually(&mysql, &select(&device.id), &[]).await;
        let mut holder = shard::connect(&mysql, &book).await;
        let row_of = format!("SELECT * FROM {book}.watermark WHERE device_id='{}'", device.id);
        let (lock, look) = (format!("{row_of} FOR UPDATE"), format!("{row_of} FOR UPDATE NOWAIT"));
        // It freezes while it waits for the lock, and has it from then on.
        let waits =
            "SELECT COUNT(*) > 0 FROM information_schema.innodb_trx WHERE trx_state='LOCK WAIT'";
        for id in 1.. {
            run(&mut holder, "START TRANSACTION").await;
            while holder.session.rows::<mysql_async::Row>("test", &lock).await.is_err() {}
            device.insert(&simple("t"), row(id, "x"));
            publish(&client, &device.id.clone(), device.seal()).await;
            eventually(&mysql, waits, &["1"]).await;
            signal(frozen.child.pid(), "-STOP");
            run(&mut holder, "ROLLBACK; START TRANSACTION").await;
            if holder.session.rows::<mysql_async::Row>("test", &look).await.is_err() {
                break;
            }
            // It had given up a moment before.
            run(&mut holder, "ROLLBACK").await;
            signal(frozen.child.pid(), "-CONT");
        }
        run(&mut holder, "ROLLBACK").await;
        let other = start(&setup("v", nats.url(), &shards, &book)).await;
        device.insert(&simple("t"), row(100_000, "the other"));
        publish(&client, &device.id.clone(), device.seal()).await;
        let last = format!("SELECT v FROM `{}__app`.t WHERE id=100000", device.id);
        eventually(&mysql, &last, &["the other"]).await;
        other.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_makes_the_shard_compute_delays_no_other_of_its_lane() {
    let (nats, book) = (nats(), book());
    let mysql = server(Flavour::MySql);
    let worker = worker::spawn(&setup("w", nats.url(), &[("m", mysql.port())], &book));
    let client = connect(&nats).await;
    let mut devices: Vec<Device> = (0..8).map(|_| Device::new(&unique("dev"))).collect();
    for device in &mut devices {
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
        eventually(&mysql, &select(&device.id), &[]).await;
    }
    // As a generated column of a device may: a row that takes the shard an hour.
    let slow = devices[0].id.clone();
    let mut someone = shard::connect(&mysql, &book).await;
    let trigger = format!(
        "CREATE TRIGGER `{slow}__app`.s BEFORE INSERT ON `{slow}__app`.t FOR EACH ROW SET @slept=SLEEP(3600)"
    );
    run(&mut someone, &trigger).await;
    let slow_at_work =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE state='User sleep'";
    for device in &mut devices {
        device.insert(&simple("t"), row(1, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &devices[1..] {
        eventually(&mysql, &select(&device.id), &["1|x"]).await;
    }
    // It is at it again, on its own.
    eventually(&mysql, slow_at_work, &["1"]).await;
    for device in &mut devices[1..] {
        device.insert(&simple("t"), row(2, "y"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &devices[1..] {
        eventually(&mysql, &select(&device.id), &["1|x", "2|y"]).await;
    }
    drop(worker);
}
