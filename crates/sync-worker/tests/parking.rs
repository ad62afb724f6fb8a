//! Devices that are stopped, and how they go on.

use crate::device::{Device, row, simple};
use crate::lab::{SIMPLE, book, nats, select, setup};
use crate::shard::{self, run, try_query, unique};
use crate::worker::{self, caught_up, connect, eventually, heartbeat_until, publish, start};
use tributary_sync_worker::operate;
use tributary_sync_worker::preflight::{self, Verdict};
use tributary_testkit::Flavour;
use tributary_wire::{Directive, HeartbeatReply};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_data_are_refused_is_parked_alone_and_goes_on_after_its_release() {
    let (nats, book) = (nats(), book());
    let mysql = shard::server(Flavour::MySql);
    let configuration = setup("w", nats.url(), &[("m", mysql.port())], &book);
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
    // A worker that did not drop it does not know where it lies in the stream: it is asked for again.
    worker.stop().await;
    let worker = start(&configuration).await;
    tributary_sync_worker::operate::release(&settings, &bad.id, false).await.expect("releases");
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
        let mut settings = worker::settings(&setup("w", nats.url(), &[("m", mysql.port())], &book));
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
        publish(&client, &id, message).await;
        let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("ALTER"));
        heartbeat_until(&client, &id, 1, Some(device.end()), parked).await;
        let settings = worker::settings(&setup("w", nats.url(), &[("m", mysql.port())], &book));
        let list = operate::parked(&settings).await.expect("lists");
        assert!(list[0].remedy.contains("grant"), "{list:?}");
        let bad = preflight::check(&tributary_sync_worker::Settings {
            shards,
            ..worker::settings(&setup("w", nats.url(), &[("m", mysql.port())], &book))
        })
        .await;
        let complaint = bad.iter().find_map(|finding| match &finding.verdict {
            Verdict::Bad(text) => Some(text.clone()),
            Verdict::Good(_) | Verdict::Doubtful(_) => None,
        });
        assert!(complaint.expect("a complaint").contains("GRANT ALTER"));

        run(&mut admin, &format!("GRANT ALTER, INDEX, PROCESS ON *.* TO {user}")).await;
        operate::release(&settings, &id, false).await.expect("releases");
        caught_up(&client, &device).await;
        eventually(mysql, &format!("SELECT id, v, c FROM `{id}__app`.t"), &["1|x|7"]).await;
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_made_by_hand_can_be_passed() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MariaDb));
    let configuration = setup("w", nats.url(), &[("m", mysql.port())], &book);
    let worker = start(&configuration).await;
    let client = connect(&nats).await;
    let mut device = Device::new(&unique("dev"));
    let id = device.id.clone();
    device.ddl(SIMPLE);
    device.ddl("CREATE SEQUENCE s");
    device.insert(&simple("t"), row(1, "x"));
    let message = device.seal();
    publish(&client, &id, message).await;
    let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("sequences"));
    heartbeat_until(&client, &id, 1, Some(device.end()), parked).await;
    let settings = worker::settings(&configuration);
    operate::release(&settings, &id, true).await.expect("releases");
    caught_up(&client, &device).await;
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
    let worker = start(&setup("w", nats.url(), &shards, &book)).await;
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
async fn a_name_that_no_shard_takes_parks_its_device_and_halts_no_shard() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MySql));
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    let (mut device, mut other) = (Device::new(&unique("dev")), Device::new(&unique("dev")));
    device.ddl("CREATE DATABASE `x `");
    publish(&client, &device.id.clone(), device.seal()).await;
    let parked = |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { reason }) if reason.contains("1102"));
    heartbeat_until(&client, &device.id, 1, Some(device.end()), parked).await;
    other.ddl(SIMPLE);
    other.insert(&simple("t"), row(1, "x"));
    publish(&client, &other.id.clone(), other.seal()).await;
    eventually(mysql, &format!("SELECT id, v FROM `{}__app`.t", other.id), &["1|x"]).await;
    worker.stop().await;
}
