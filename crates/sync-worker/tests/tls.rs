//! TLS to shards and to NATS: what is trusted, what is refused, and what is said of it.

use std::fmt::Write as _;
use tributary_runtime::config::load_with;
use tributary_sync_worker::session::Session;
use tributary_sync_worker::{Config, Settings, nats};
use tributary_testkit::certificates::{Authority, Issued, Validity};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer, NatsOptions, NatsServer, Scratch};

fn load(nats: &str, shard: &str) -> Result<Settings, String> {
    let scratch = Scratch::new().expect("a directory");
    let path = scratch.path().join("worker.toml");
    let text = format!("[nats]\n{nats}\n[[shards]]\nname = \"a\"\n{shard}\n");
    std::fs::write(&path, text).expect("written");
    let config = load_with::<Config>(Some(&path), []).map_err(|error| error.to_string())?;
    config.validate().map_err(|error| error.to_string())
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

fn check(what: &str, said: Option<&str>, wanted: Option<&str>) {
    let is_as_wanted = match (said, wanted) {
        (None, None) => true,
        (Some(said), Some(wanted)) => said.contains(wanted),
        _ => false,
    };
    assert!(is_as_wanted, "{what}: {said:?}, and not {wanted:?}");
}

const LOCAL: &str = "url = \"nats://127.0.0.1:4222\"";

async fn shard_says(server: &MySqlServer, user: &str, keys: &str) -> Option<String> {
    let shard = format!(
        "host = \"127.0.0.1\"\nport = {}\nuser = \"{user}\"\npassword = \"tributary\"\n{keys}",
        server.port()
    );
    let settings = load(LOCAL, &shard).expect("loads");
    match Session::connect(&settings.shards[0].opts).await {
        Ok(mut session) => {
            let sql = "SELECT variable_value FROM performance_schema.session_status WHERE variable_name='Ssl_cipher'";
            let mariadb = "SELECT variable_value FROM information_schema.session_status WHERE variable_name='Ssl_cipher'";
            let sql = if server.flavour() == Flavour::MariaDb { mariadb } else { sql };
            if let Ok(cipher) = session.rows::<String>("ask for the cipher", sql).await {
                assert!(cipher.iter().all(|cipher| !cipher.is_empty()), "it is in plain text");
            }
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

async fn a_shard_is_trusted_as_configured(flavour: Flavour) {
    let (ours, other) = (Authority::new().expect("made"), Authority::new().expect("made"));
    let client = ours.issue("client", Validity::Lasting).expect("issued");
    let issue = |name, validity| ours.issue(name, validity).expect("issued");
    let start = |certificate: &Issued| {
        let mut options = MySqlOptions { durable: false, ..MySqlOptions::target() };
        options.arguments.extend(certificate.mysql_arguments(flavour, &ours));
        MySqlServer::start(flavour, &options).expect("starts")
    };
    let server = start(&issue("127.0.0.1", Validity::Lasting));
    let mut admin = crate::shard::connect(&server, "book").await;
    for sql in [
        "CREATE USER strict@'%' IDENTIFIED BY 'tributary' REQUIRE X509",
        "GRANT ALL ON *.* TO strict@'%'",
    ] {
        admin.session.run("make an account", sql.as_bytes()).await.expect("made");
    }
    for (user, keys, wanted) in [
        ("tributary", keys(Some(&ours), None), None),
        ("tributary", "tls = true".to_owned(), Some("UnknownIssuer")),
        ("tributary", keys(Some(&other), None), Some("UnknownIssuer")),
        ("strict", keys(Some(&ours), Some(&client)), None),
        ("strict", keys(Some(&ours), None), Some("Access denied")),
    ] {
        check(
            &format!("{flavour:?}, {user}, {keys}"),
            shard_says(&server, user, &keys).await.as_deref(),
            wanted,
        );
    }
    for (certificate, wanted) in [
        (issue("127.0.0.1", Validity::Expired), "expired"),
        (issue("elsewhere.example.com", Validity::Lasting), "not valid for name"),
    ] {
        let said = shard_says(&start(&certificate), "tributary", &keys(Some(&ours), None)).await;
        check(wanted, said.as_deref(), Some(wanted));
    }
    let plain = crate::shard::server(Flavour::MariaDb);
    let said = shard_says(plain, "tributary", &keys(Some(&ours), None)).await;
    assert!(said.is_some(), "a server without TLS is spoken to in plain text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_shard_is_trusted_as_configured() {
    a_shard_is_trusted_as_configured(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_shard_is_trusted_as_configured() {
    a_shard_is_trusted_as_configured(Flavour::MariaDb).await;
}

async fn nats_says(url: &str, keys: &str) -> Option<String> {
    let settings = load(&format!("url = \"{url}\"\n{keys}"), "host = \"127.0.0.1\"");
    let connected = nats::connect(&settings.expect("loads").nats, "w").await;
    connected.err().map(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_trusted_as_configured_and_a_refusal_is_told() {
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
        check(&format!("{url}, {keys}"), nats_says(&url, &keys).await.as_deref(), wanted);
    }
}

#[test]
fn plain_text_leaves_the_machine_only_where_that_is_written() {
    let said = |nats: &str, shard: &str| load(nats, shard).err();
    let (here, away) = ("host = \"127.0.0.1\"", "host = \"db.example.com\"");
    assert_eq!(said(LOCAL, here), None);
    assert!(said(LOCAL, away).is_some_and(|said| said.contains("shards[a].tls")));
    assert_eq!(said(LOCAL, &format!("{away}\ntls = true")), None);
    assert_eq!(said(LOCAL, &format!("{away}\nallow_plaintext = true")), None);
    let url = "url = \"mysql://u:p@db.example.com:3306?require_ssl=true&verify_ca=false\"";
    assert!(said(LOCAL, url).is_some_and(|said| said.contains("verify_ca")));
    let nats = "url = \"nats://nats.example.com:4222\"";
    assert!(said(nats, here).is_some_and(|said| said.contains("nats.urls")));
    assert_eq!(said(&format!("{nats}\nallow_plaintext = true"), here), None);
    assert_eq!(said("url = \"tls://nats.example.com\"", here), None);
}
