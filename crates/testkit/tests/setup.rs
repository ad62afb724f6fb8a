//! Setup: once is enough, and what it finds is explained.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Result;
use tributary_testkit::{Product, Scratch, Version, setup};

#[test]
fn setup_is_idempotent_and_finds_servers_that_are_new_enough() -> Result<()> {
    let first = setup::run()?;
    let start = Instant::now();
    let second = setup::run()?;
    assert!(start.elapsed() < Duration::from_secs(5), "nothing is fetched twice");
    for ((product, first), second) in Product::ALL.into_iter().zip(&first).zip(&second) {
        assert_eq!(first.product, product);
        assert_eq!(first.program, second.program);
        assert!(first.version >= product.oldest(), "{product} {}", first.version);
        assert_ne!(first.version, Version(0, 0, 0));
    }
    Ok(())
}

#[test]
fn programs_of_an_installation_can_be_run() -> Result<()> {
    let scratch = Scratch::new()?;
    let log = scratch.path().join("out");
    for (product, client) in [(Product::MySql, "mysqldump"), (Product::MariaDb, "mariadb-binlog")] {
        let found = setup::installation(product)?;
        let path = found.client(client).expect("the client is there");
        let mut child = found.tool(&path).args(["--version"]).log_to(&log).spawn()?;
        let status = child.wait(Duration::from_secs(30)).expect("it ends");
        assert!(status.success(), "{}", fs::read_to_string(&log)?);
    }
    assert!(fs::read_to_string(&log)?.contains("mysqldump"));
    Ok(())
}
