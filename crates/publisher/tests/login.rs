//! The replication connection's own login.

use crate::harness::{DEVICE, Lab};
use tributary_publisher::Error;
use tributary_publisher::config::SourceConfig;
use tributary_publisher::dump::{Dump, From};
use tributary_publisher::source::{Facts, Source};
use tributary_runtime::Secret;
use tributary_testkit::Flavour;

async fn facts(lab: &Lab) -> Facts {
    Source::open(&lab.config().source).await.expect("opens").1
}

async fn open(
    lab: &Lab,
    config: &SourceConfig,
    facts: &Facts,
    from: From<'_>,
) -> Result<Dump, Error> {
    Dump::open(config, facts, 77, from, lab.state.path()).await
}

fn account(lab: &Lab, user: &str, password: &str) -> SourceConfig {
    let mut config = lab.config().source;
    config.user = user.to_owned();
    config.password = Secret::new(password);
    config
}

const BEGINNING: From<'_> = From::Place { file: "binlog.000001", offset: 4 };

/// A new account's first login is the full one; the second is the fast one.
async fn every_way_of_an_account_works(flavour: Flavour, ways: &[(&str, &str)]) {
    let lab = Lab::start(flavour).await;
    let facts = facts(&lab).await;
    for (user, identified) in ways {
        lab.sql(&[
            &format!("CREATE USER {user}@'%' {identified}"),
            &format!("GRANT REPLICATION SLAVE ON *.* TO {user}@'%'"),
        ])
        .await;
        let password = if identified.is_empty() { "" } else { "päss word" };
        for _ in 0..2 {
            let dump = open(&lab, &account(&lab, user, password), &facts, BEGINNING).await;
            let mut dump = dump.unwrap_or_else(|error| panic!("{user}: {error}"));
            dump.next().await.unwrap_or_else(|error| panic!("{user}: {error}"));
        }
        let wrong = open(&lab, &account(&lab, user, "wrong"), &facts, BEGINNING).await;
        let Err(error @ Error::SourceRefused { .. }) = wrong else { panic!("{user} got in") };
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_a_mysql_account_works() {
    let ways = [("sha2", "IDENTIFIED WITH caching_sha2_password BY 'päss word'"), ("nobody", "")];
    every_way_of_an_account_works(Flavour::MySql, &ways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_a_mariadb_account_works() {
    let ways = [("native", "IDENTIFIED BY 'päss word'"), ("nobody", "")];
    every_way_of_an_account_works(Flavour::MariaDb, &ways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let lab = Lab::start(Flavour::MySql).await;
    let facts = facts(&lab).await;
    let mut config = lab.config().source;
    config.tls = true;
    // MySQL makes itself a certificate at its first start.
    let Err(error @ Error::SourceLost { .. }) = open(&lab, &config, &facts, BEGINNING).await else {
        panic!("it is trusted");
    };
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_the_server_does_not_have_is_out_of_reach() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        let facts = facts(&lab).await;
        let from = From::Place { file: "binlog.000099", offset: 4 };
        let mut dump = open(&lab, &lab.config().source, &facts, from).await.expect("opens");
        let error = loop {
            if let Err(error) = dump.next().await {
                break error;
            }
        };
        assert!(matches!(error, Error::OutOfReach { .. }), "{DEVICE}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_served_behind_a_set_of_transactions() {
    let lab = Lab::start(Flavour::MySql).await;
    lab.sql(&["CREATE DATABASE one", "CREATE DATABASE two", "CREATE DATABASE three"]).await;
    let facts = facts(&lab).await;
    let uuid: String = facts.identity.chars().filter(|c| *c != '-').collect();
    let uuid: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&uuid[2 * at..2 * at + 2], 16).expect("digits"))
        .collect();
    let executed = last_gtid(&lab).await - 1;
    let numbers = [1, executed + 1].map(u64::to_le_bytes).concat();
    let set = [&1_u64.to_le_bytes()[..], &uuid, &1_u64.to_le_bytes(), &numbers].concat();
    let from = From::Executed(&set);
    let mut dump = open(&lab, &lab.config().source, &facts, from).await.expect("opens");
    let gtid = loop {
        let event = dump.next().await.expect("an event");
        if let (33, tributary_publisher::dump::EventBody::Held(bytes, body)) =
            (event.header.code, &event.body)
        {
            // Flags, the source's uuid, the number.
            let number = &bytes[body.clone()][17..25];
            break u64::from_le_bytes(number.try_into().expect("eight"));
        }
    };
    assert_eq!(gtid, executed + 1);
}

async fn last_gtid(lab: &Lab) -> u64 {
    use mysql_async::prelude::Queryable;
    let opts = mysql_async::Opts::from_url(&lab.source.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
    let set: Option<String> = conn.query_first("SELECT @@gtid_executed").await.expect("asks");
    let set = set.expect("a set");
    set.rsplit(['-', ':']).next().and_then(|n| n.trim().parse().ok()).expect("a number")
}
