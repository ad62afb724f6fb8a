//! What the documents tell an operator to write works.

use crate::device::{Device, row, simple};
use crate::shard::{self, unique};
use crate::worker::{Setup, eventually, heartbeat_until, publish, start};
use std::fs;
use std::path::{Path, PathBuf};
use tributary_runtime::config;
use tributary_sync_worker::Config;
use tributary_testkit::{Flavour, NatsOptions, NatsServer, Scratch};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_example_configuration_is_valid() {
    let scratch = Scratch::new().expect("a directory");
    let secret = scratch.path().join("secret");
    fs::write(&secret, "a password\n").expect("written");
    let example = fs::read_to_string(root().join("docs/examples/sync-worker.toml"));
    let lines: Vec<String> = example
        .expect("it is there")
        .lines()
        .map(|line| match line.split_once("\"file:") {
            Some((key, _)) => format!("{key}\"file:{}\"", secret.display()),
            None => line.to_owned(),
        })
        .collect();
    let path = scratch.path().join("worker.toml");
    fs::write(&path, lines.join("\n")).expect("written");
    let config: Config = config::load_with(Some(&path), []).expect("it is read");
    let settings = config.validate().expect("it is valid");
    let shard =
        |id: &str| settings.routing.shard_for(&id.parse().expect("valid")).map(str::to_owned);
    assert_eq!(shard("DEVICE_001").as_deref(), Some("shard-0"));
    assert_eq!(shard("DEVICE_150").as_deref(), Some("shard-1"));
    assert_eq!(shard("DEVICE_002").as_deref(), Some("shard-1"));
}

/// With the permissions that the README shows, and no others, a worker provisions the stream and applies
/// what a device publishes, and the device gets its acknowledgements and its answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_permissions_in_the_readme_are_enough_for_a_worker_and_a_device() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    let (_, rest) = readme.split_once("```conf\n").expect("it shows the permissions");
    let (permissions, _) = rest.split_once("```").expect("the block ends");
    let permissions = permissions.replace("<one password>", "w").replace("<another password>", "d");
    let nats = NatsServer::start(&NatsOptions::with_config(&permissions)).expect("it starts");
    let (mysql, book) = (shard::server(Flavour::MySql), unique("book").replace('-', "_"));
    let worker = start(&Setup {
        id: "w",
        nats: nats.url().replace("nats://", "nats://sync-worker:w@"),
        shards: vec![("m", mysql.port())],
        bookkeeping: &book,
        more: "",
    })
    .await;
    let mut device = Device::new("DEVICE_001");
    let id = device.id.clone();
    let client = async_nats::ConnectOptions::new()
        .user_and_password(id.to_string(), "d".to_owned())
        .custom_inbox_prefix(id.inbox_prefix())
        .connect(nats.url())
        .await
        .expect("the device connects");
    device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100)) CHARACTER SET utf8mb4");
    device.insert(&simple("t"), row(1, "x"));
    publish(&client, &id, device.seal()).await;
    eventually(mysql, "SELECT id, v FROM DEVICE_001__app.t", &["1|x"]).await;
    for _ in 0..3 {
        let end = Some(device.end());
        heartbeat_until(&client, &id, 1, end, |reply| {
            reply.applied.as_ref().map(|applied| applied.position) == end
        })
        .await;
    }
    worker.stop().await;
}
