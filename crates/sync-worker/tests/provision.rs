//! The stream, the servers, and whether they can be used.

use crate::lab::{book, nats, setup};
use crate::shard::{self};
use crate::worker::{self, connect};
use futures_util::StreamExt;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tributary_sync_worker::config::StreamConfig;
use tributary_sync_worker::preflight::{self};
use tributary_sync_worker::provision;
use tributary_testkit::{Flavour, NatsOptions, NatsServer, Scratch};
use tributary_wire::{DeviceId, partition};

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
    let settings = worker::settings(&setup(
        "w",
        nats.url(),
        &[("m", shard::server(Flavour::MySql).port())],
        "book",
    ));
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

#[tokio::test(flavor = "multi_thread")]
async fn the_preflight_is_content_with_what_the_tests_run_on() {
    let (nats, book) = (nats(), book());
    let shards = [
        ("m", shard::server(Flavour::MySql).port()),
        ("d", shard::server(Flavour::MariaDb).port()),
    ];
    let settings = worker::settings(&setup("w", nats.url(), &shards, &book));
    let findings = preflight::check(&settings).await;
    assert!(preflight::is_good(&findings), "{findings:#?}");
    assert!(findings.len() > 10, "{findings:#?}");
}

#[test]
fn the_server_configurations_are_ones_that_the_server_takes() {
    let nats =
        tributary_testkit::setup::installation(tributary_testkit::Product::Nats).expect("there");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jetstream");
    let scratch = Scratch::new().expect("a directory");
    for name in ["permissions.conf", "nats-single.conf", "nats-cluster.conf", "nats-leaf.conf"] {
        // What an operator has to fill in, and the paths of a machine that has been set up.
        let text = fs::read_to_string(folder.join(name)).expect("it is there");
        let text =
            filled_in(&text).replace("/etc/tributary", &scratch.path().display().to_string());
        fs::write(scratch.path().join(name), text).expect("written");
    }
    fs::write(scratch.path().join("site.creds"), "").expect("written");
    for name in ["nats-single.conf", "nats-cluster.conf", "nats-leaf.conf"] {
        let log = scratch.path().join("check.log");
        let arguments = ["-t".into(), "-c".into(), scratch.path().join(name).into_os_string()];
        let mut check =
            nats.command().args(arguments).log_to(log.clone()).spawn().expect("it runs");
        let status = check.wait(worker::DEADLINE).expect("it ends");
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "{name}: {said}");
    }
}

/// With something between `<` and `>` taken for what an operator writes there.
fn filled_in(text: &str) -> String {
    let mut parts = text.split('<');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |filled, part| filled + &part.replacen('>', "", 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_there_grow_and_never_shrink() {
    let nats = nats();
    let context = async_nats::jetstream::new(connect(&nats).await);
    let config = |max_gib, hours| StreamConfig {
        partitions: 8,
        max_gib: Some(max_gib),
        max_age_hours: Some(hours),
        ..StreamConfig::default()
    };
    let seconds = Duration::from_secs;
    provision::reconcile(&context, &config(1, 10), seconds(3)).await.expect("created");
    provision::reconcile(&context, &config(2, 5), seconds(9)).await.expect("grown");
    let made = provision::reconcile(&context, &config(1, 1), seconds(1)).await.expect("kept");
    let stream = made.stream.cached_info().config.clone();
    assert_eq!((stream.max_bytes, stream.max_age), (2 << 30, seconds(36_000)));
    let workers = made.workers.stream.get_info().await.expect("the bucket").config;
    assert_eq!(workers.max_age, seconds(9));
}
