//! TLS to the source, on both of the publisher's connections, and to NATS: what is trusted, what is refused, and what
//! is said of it.

use crate::harness::DEVICE;
use std::fmt::Write as _;
use std::time::Duration;
use tributary_publisher::Config;
use tributary_publisher::config::InvalidConfig;
use tributary_publisher::dump::{Dump, From};
use tributary_publisher::link::Link;
use tributary_publisher::source::Source;
use tributary_testkit::certificates::{Authority, Issued, Validity};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer, Scratch};

fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tributary_runtime::telemetry::init_logging(false);
}

fn load(source: &str, nats: &str) -> Result<Config, InvalidConfig> {
    let scratch = Scratch::new().expect("a directory");
    let text = format!(
        "[device]\nid = \"{DEVICE}\"\n[source]\nuser = \"tributary\"\npassword = \"tributary\"\n{source}\n\
         [nats]\n{nats}\n[state]\ndir = \"{}\"\n",
        scratch.path().display()
    );
    let path = scratch.path().join("publisher.toml");
    std::fs::write(&path, text).expect("written");
    Config::load(Some(&path)).map(|(config, _)| config)
}

/// Keys of the authority and of a client's certificate.
fn keys(authority: Option<&Authority>, client: Option<&Issued>) -> String {
    let mut keys = String::new();
    if let Some(authority) = authority {
        let _ = writeln!(keys, "tls_ca_file = \"{}\"", authority.file().display());
    }
    if let Some(client) = client {
        let (certificate, key) = (client.certificate.display(), client.key.display());
        let _ = write!(keys, "tls_cert_file = \"{certificate}\"\ntls_key_file = \"{key}\"\n");
    }
    keys
}

/// What both connections to the source say; `None` where they come about.
async fn source_says(port: u16, keys: &str) -> [Option<String>; 2] {
    let config = load(&format!("port = {port}\n{keys}"), "urls = [\"nats://127.0.0.1:4222\"]");
    let config = config.expect("loads").source;
    let facts = match Source::open(&config).await {
        Ok((_, facts)) => facts,
        Err(error) => {
            // The replication connection needs facts of the server, which only the other one can get.
            let plain = load(&format!("port = {port}"), "urls = [\"nats://127.0.0.1:4222\"]");
            let facts = Source::open(&plain.expect("loads").source).await.expect("opens").1;
            return [Some(error.to_string()), dump_says(&config, &facts).await];
        }
    };
    [None, dump_says(&config, &facts).await]
}

async fn dump_says(
    config: &tributary_publisher::config::SourceConfig,
    facts: &tributary_publisher::source::Facts,
) -> Option<String> {
    let state = Scratch::new().expect("a directory");
    let from = From::Place { file: "binlog.000001", offset: 4 };
    Dump::open(config, facts, 78, from, state.path()).await.err().map(|error| error.to_string())
}

/// Each case says for both connections what their refusal contains, or nothing where they are let in.
async fn the_source_is_trusted_as_configured(flavour: Flavour) {
    install();
    let (ours, other) = (Authority::new().expect("made"), Authority::new().expect("made"));
    let client = ours.issue("client", Validity::Lasting).expect("issued");
    let issue = |name, validity| ours.issue(name, validity).expect("issued");
    for (certificate, cases) in [
        (
            issue("127.0.0.1", Validity::Lasting),
            vec![
                (keys(Some(&ours), None), None),
                (keys(Some(&ours), Some(&client)), None),
                ("tls = true".to_owned(), Some("UnknownIssuer")),
                (keys(Some(&other), None), Some("UnknownIssuer")),
            ],
        ),
        (issue("127.0.0.1", Validity::Expired), vec![(keys(Some(&ours), None), Some("expired"))]),
        (
            issue("elsewhere.example.com", Validity::Lasting),
            vec![(keys(Some(&ours), None), Some("not valid for name"))],
        ),
    ] {
        let mut options = MySqlOptions { durable: false, ..MySqlOptions::source() };
        options.arguments.extend(certificate.mysql_arguments(flavour, &ours));
        let server = MySqlServer::start(flavour, &options).expect("starts");
        for (keys, wanted) in cases {
            for said in source_says(server.port(), &keys).await {
                match (&said, wanted) {
                    (None, None) => {}
                    (Some(said), Some(wanted)) if said.contains(wanted) => {}
                    _ => panic!("{flavour:?}, {keys}: {said:?}, and not {wanted:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mysql_source_is_trusted_as_configured() {
    the_source_is_trusted_as_configured(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_source_is_trusted_as_configured() {
    the_source_is_trusted_as_configured(Flavour::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_tls_is_not_spoken_to_in_plain_text() {
    install();
    let options = MySqlOptions { durable: false, ..MySqlOptions::source() };
    let server = MySqlServer::start(Flavour::MariaDb, &options).expect("starts");
    let ours = Authority::new().expect("made");
    for said in source_says(server.port(), &keys(Some(&ours), None)).await {
        assert!(said.is_some(), "it is spoken to");
    }
}

/// What NATS says, or `None` once the connection stands.
async fn nats_says(url: &str, keys: &str) -> Option<String> {
    let config = load("", &format!("urls = [\"{url}\"]\n{keys}")).expect("loads").nats;
    let mut link = Link::open(&config, &DEVICE.parse().expect("valid")).await.expect("opens");
    let complains = |link: &Link| link.last_error().filter(|error| !error.ends_with("IO error"));
    let outcome = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if link.is_connected() {
                return None;
            }
            if let Some(error) = complains(&link) {
                return Some(error);
            }
            let _ = tokio::time::timeout(Duration::from_millis(20), link.answer()).await;
        }
    });
    outcome.await.expect("one of both")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_trusted_as_configured_and_a_refusal_is_told() {
    install();
    let (ours, other) = (Authority::new().expect("made"), Authority::new().expect("made"));
    let client = ours.issue("client", Validity::Lasting).expect("issued");
    let server = |name: &str, validity, verify| {
        let section = ours.issue(name, validity).expect("issued").nats_section(&ours, verify);
        NatsServer::start(&NatsOptions::with_config(&section)).expect("starts")
    };
    let good = server("127.0.0.1", Validity::Lasting, false);
    let expired = server("127.0.0.1", Validity::Expired, false);
    let elsewhere = server("elsewhere.example.com", Validity::Lasting, false);
    let strict = server("127.0.0.1", Validity::Lasting, true);
    let plain = NatsServer::start(&NatsOptions::default()).expect("starts");
    let tls = |nats: &NatsServer| nats.url().replace("nats://", "tls://");
    for (url, keys, wanted) in [
        (tls(&good), keys(Some(&ours), None), None),
        // A file of authorities implies TLS.
        (good.url(), keys(Some(&ours), None), None),
        (tls(&good), keys(Some(&other), None), Some("UnknownIssuer")),
        (tls(&expired), keys(Some(&ours), None), Some("expired")),
        (tls(&elsewhere), keys(Some(&ours), None), Some("not valid for name")),
        (tls(&strict), keys(Some(&ours), Some(&client)), None),
        (tls(&strict), keys(Some(&ours), None), Some("")),
        // Nobody in between can talk TLS away.
        (tls(&plain), keys(Some(&ours), None), Some("")),
        (plain.url(), keys(Some(&ours), None), Some("")),
    ] {
        let said = nats_says(&url, &keys).await;
        match (&said, wanted) {
            (None, None) => {}
            (Some(said), Some(wanted)) if said.contains(wanted) => {}
            _ => panic!("{url}, {keys}: {said:?}, and not {wanted:?}"),
        }
    }
}

#[test]
fn plain_text_leaves_the_device_only_where_that_is_written() {
    let said = |source: &str, nats: &str| load(source, nats).err().map(|error| error.to_string());
    let (local, away) =
        ("urls = [\"nats://127.0.0.1:4222\"]", "urls = [\"nats://nats.example.com\"]");
    assert_eq!(said("", local), None);
    assert!(
        said("", away).is_some_and(|said| said.contains("nats.urls") && said.contains("tls://"))
    );
    assert_eq!(said("", &format!("{away}\nallow_plaintext = true")), None);
    assert_eq!(said("", "urls = [\"tls://nats.example.com\"]"), None);
    let source = "host = \"db.example.com\"";
    assert!(said(source, local).is_some_and(|said| said.contains("source.tls")));
    assert_eq!(said(&format!("{source}\ntls = true"), local), None);
    assert_eq!(said(&format!("{source}\nallow_plaintext = true"), local), None);
    assert!(said("tls_cert_file = \"c.pem\"", local).is_some_and(|said| said.contains("together")));
}
