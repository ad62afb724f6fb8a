//! A copy that begins with the tables as they are, while the log goes on.

use crate::harness::{DEADLINE, Lab, applied};
use crate::model::Model;
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tributary_publisher::config::WhenLost;
use tributary_publisher::snapshot::catalog::Catalog;
use tributary_publisher::source::Source;

use tributary_testkit::{Direction, Flavour, MySqlOptions, MySqlServer, Proxy};
use tributary_wire::Batch;

pub(crate) const SERIES: &str = "INSERT INTO app.t (v) SELECT LEFT(UUID(), 8) FROM information_schema.columns a, information_schema.columns b LIMIT";

/// A log that no longer tells where the tables came from.
pub(crate) async fn forget(lab: &Lab) {
    lab.sql(&["FLUSH BINARY LOGS"]).await;
    purge(lab).await;
}

/// Drops the first file of the log. MariaDB keeps it until its engines have let go of it.
pub(crate) async fn purge(lab: &Lab) {
    let opts = mysql_async::Opts::from_url(&lab.source.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
    let until = Instant::now() + DEADLINE;
    loop {
        conn.query_drop("PURGE BINARY LOGS TO 'binlog.000002'").await.expect("purges");
        let files: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.expect("shows");
        if files[0].get::<String, _>(0).expect("a name") == "binlog.000002" {
            return;
        }
        assert!(Instant::now() < until, "the first file of the log stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn prepare(lab: &Lab, rows: u32) {
    let rows = format!("{SERIES} {rows}");
    lab.sql(&[
        "CREATE DATABASE app CHARACTER SET latin1",
        "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))",
        "CREATE TABLE app.keyless (id INT, v VARCHAR(20))",
        "CREATE TABLE app.empty (id INT PRIMARY KEY)",
        "CREATE VIEW app.a_view AS SELECT id FROM app.t",
        "CREATE PROCEDURE app.p() SELECT 1",
        &rows,
        "INSERT INTO app.keyless SELECT id % 10, 'x' FROM app.t LIMIT 3000",
    ])
    .await;
}

/// What the source holds, as the model shows it.
pub(crate) async fn held(lab: &Lab, table: &str) -> Vec<String> {
    let opts = mysql_async::Opts::from_url(&lab.source.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
    let sql = format!("SELECT CONCAT(id, ',', v) FROM {table} ORDER BY 1");
    conn.query(sql).await.expect("selects")
}

pub(crate) fn copied(model: &Model, table: &str) -> Vec<String> {
    let mut rows: Vec<String> = model.tables[table].values().cloned().collect();
    rows.sort();
    rows
}

pub(crate) async fn assert_equal(lab: &Lab, model: &Model) {
    for table in ["app.t", "app.keyless"] {
        let (held, copied) = (held(lab, table).await, copied(model, table));
        assert_eq!(held.len(), copied.len(), "{table}");
        assert!(held == copied, "{table} differs");
    }
}

/// True for the batch whose end makes everything live, and that holds what was written last.
pub(crate) fn is_last(batch: &Batch) -> bool {
    batch.header.resume.snapshot.is_none()
        && batch.statements.iter().any(|s| s.sql.ends_with(b"TABLE last_one (id INT PRIMARY KEY)"))
}

pub(crate) fn model(batches: &[Batch]) -> Model {
    let mut model = Model::default();
    batches.iter().for_each(|batch| model.apply(batch));
    model
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_device_whose_log_was_purged_is_copied_from_its_tables() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        prepare(&lab, 5000).await;
        forget(&lab).await;
        let publisher = lab.publish();
        let ended = |batch: &Batch| batch.header.resume.snapshot.is_none();
        let batches = lab.read_until(ended).await;
        let model = model(&batches);
        assert_equal(&lab, &model).await;
        assert!(model.tables["app.empty"].is_empty());
        for wanted in ["CHARACTER SET latin1", "VIEW `app`.`a_view`", "PROCEDURE `p`"] {
            let found = model.statements.iter().any(|sql| sql.contains(wanted));
            assert!(found, "{wanted} in {:?}", model.statements);
        }
        publisher.stop().await;
    }
}

/// Writes to both tables until it is told to stop.
fn write(lab: &Lab, seed: u64, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (url, stop) = (lab.source.admin_url(), Arc::clone(stop));
    tokio::spawn(async move {
        let opts = mysql_async::Opts::from_url(&url).expect("a url");
        let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
        let mut random = fastrand::Rng::with_seed(seed);
        while !stop.load(Ordering::Relaxed) {
            let (id, other) = (random.u32(1..9000), random.u32(1..9000));
            let sql = match random.u8(0..6) {
                0 => "INSERT INTO app.t (v) VALUES (LEFT(UUID(), 8))".to_owned(),
                1 => format!("DELETE FROM app.t WHERE id = {id}"),
                2 => format!("UPDATE IGNORE app.t SET id = {other} WHERE id = {id}"),
                3 => format!("INSERT INTO app.keyless VALUES ({id}, 'new')"),
                4 => format!("DELETE FROM app.keyless WHERE id = {} LIMIT 3", id % 10),
                _ => format!(
                    "UPDATE app.t SET v = LEFT(UUID(), 8) WHERE id BETWEEN {id} AND {id} + 20"
                ),
            };
            let outcome = conn.query_drop(&sql).await;
            // Writers meet; the one that gives way writes something else.
            if let Err(error) = outcome {
                assert!(error.to_string().contains("Deadlock"), "{sql}: {error}");
            }
        }
    })
}

/// MariaDB forgets a table for a moment while it is altered. A list without it would have the target drop its
/// copy, and a look that finds no key would end the table in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_altered_is_there_all_the_time() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        prepare(&lab, 10).await;
        let config = lab.config().source;
        let (source, facts) = Source::open(&config).await.expect("connects");
        source.close().await;
        let mut catalog = Catalog::connect(&config, &facts).await.expect("connects");
        let stop = Arc::new(AtomicBool::new(false));
        let (url, until) = (lab.source.admin_url(), Arc::clone(&stop));
        let altering = tokio::spawn(async move {
            let opts = mysql_async::Opts::from_url(&url).expect("a url");
            let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
            while !until.load(Ordering::Relaxed) {
                for what in ["ADD INDEX i (v)", "DROP INDEX i", "FORCE, ALGORITHM=COPY"] {
                    conn.query_drop(format!("ALTER TABLE app.t {what}")).await.expect("alters");
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..3000))).await;
                }
            }
        });
        let name = ("app".to_owned(), "t".to_owned());
        for look in 0..200 {
            let tables = catalog.tables().await.expect("lists");
            assert!(tables.iter().any(|table| table.name == name), "{flavour}, list {look}");
            let columns = catalog.columns(&name).await.expect("reads").expect("a table");
            assert!(columns.by_range, "{flavour}, look {look}");
            // At another moment of the ALTER.
            tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2000))).await;
        }
        stop.store(true, Ordering::Relaxed);
        altering.await.expect("alters");
        // One that has gone is not waited for.
        lab.sql(&["DROP TABLE app.t", "CREATE VIEW app.t AS SELECT 1"]).await;
        let tables = catalog.tables().await.expect("lists");
        assert!(tables.iter().all(|table| table.name != name));
        catalog.close().await;
    }
}

async fn tables_are_copied_while_they_are_written_to(flavour: Flavour) {
    let lab = Lab::start(flavour).await;
    prepare(&lab, 8000).await;
    forget(&lab).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3).map(|seed| write(&lab, seed, &stop)).collect();
    let mut config = lab.config();
    // Slow enough for the writers to be in the way.
    config.snapshot.rows_per_second = Some(4000);
    let first = lab.publish_with(config.clone());
    let batches = lab.read_until(|batch| {
        batch
            .header
            .resume
            .snapshot
            .as_ref()
            .is_some_and(|at| at.table == "t" && !at.key.is_empty())
    });
    let batches = batches.await;
    // It dies in the middle of a table, and has nothing left but what the target knows.
    first.abort().await;
    std::fs::remove_file(lab.state.path().join("DEVICE_001.checkpoint.json")).unwrap_or_default();
    let last = batches.last().expect("one");
    lab.answer(Some(applied(last)));
    let second = lab.publish_with(config);
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("writes");
    }
    lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
    lab.asked(|question| question.snapshot.is_none() && question.published.is_some()).await;
    lab.sql(&["USE app", "DROP TABLE last_one", "CREATE TABLE last_one (id INT PRIMARY KEY)"])
        .await;
    let model = model(&lab.read_until(is_last).await);
    assert_equal(&lab, &model).await;
    assert!(model.chunks > 3, "{} chunks", model.chunks);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mysql_tables_are_copied_while_they_are_written_to() {
    tables_are_copied_while_they_are_written_to(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_tables_are_copied_while_they_are_written_to() {
    tables_are_copied_while_they_are_written_to(Flavour::MariaDb).await;
}

/// A publisher whose source breaks off reads again what was not acknowledged, and places its snapshot
/// in it anew. What it had sent before may still arrive: a reader must see that it is something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_one_thing_of_one_place() {
    for flavour in Flavour::ALL {
        let lab = Lab::start(flavour).await;
        prepare(&lab, 8000).await;
        forget(&lab).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = write(&lab, 1, &stop);
        let proxy = Proxy::start(lab.nats.address()).expect("a proxy");
        // Batches are stored long before their publisher knows.
        proxy.delay(Direction::ToClient, Duration::from_millis(400));
        let mut config = lab.config();
        config.nats.urls = vec![format!("nats://{}", proxy.addr())];
        config.snapshot.rows_per_second = Some(2000);
        let publisher = lab.publish_with(config);
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(1300)).await;
            lab.sql_each("SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'").await;
        }
        proxy.delay(Direction::ToClient, Duration::ZERO);
        let mut stored = pin!(lab.stored().await);
        let (mut said, mut repeated) = (HashMap::new(), 0);
        loop {
            let batch = timeout(DEADLINE, stored.next()).await.expect("in time").expect("one");
            let done = batch.header.resume.snapshot.is_none();
            let place = (batch.header.run, batch.header.prev);
            repeated += u32::from(said.keys().any(|(_, prev)| *prev == batch.header.prev));
            let text = format!("{batch:?}");
            let before = said.entry(place).or_insert_with(|| text.clone());
            assert!(*before == text, "of {place:?}:\n{before:.2000}\n{text:.2000}");
            if done {
                break;
            }
        }
        assert!(repeated > 0, "nothing was read again");
        stop.store(true, Ordering::Relaxed);
        writer.await.expect("writes");
        publisher.stop().await;
    }
}

/// A device that was copied, and whose log then lost what follows on the copy.
async fn lost(flavour: Flavour, how: &str) -> (Lab, Vec<Batch>) {
    let lab = Lab::start(flavour).await;
    prepare(&lab, 500).await;
    let publisher = lab.publish();
    lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
    let batches = lab.read_until(is_last).await;
    publisher.stop().await;
    lab.answer(batches.last().map(applied));
    lab.sql(&["DELETE FROM app.t WHERE id % 7 = 0", "DROP TABLE app.empty"]).await;
    lab.sql(&[how]).await;
    if how == FLUSH {
        purge(&lab).await;
    }
    lab.sql(&[&format!("{SERIES} 100")]).await;
    (lab, batches)
}

const FLUSH: &str = "FLUSH BINARY LOGS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_log_lost_what_follows_is_copied_again() {
    for (flavour, how) in [
        (Flavour::MySql, FLUSH),
        (Flavour::MariaDb, FLUSH),
        (Flavour::MySql, "RESET BINARY LOGS AND GTIDS"),
        (Flavour::MariaDb, "RESET MASTER"),
    ] {
        let (lab, before) = lost(flavour, how).await;
        let publisher = lab.publish();
        let batches = lab.read_until(|batch| {
            batch.header.end.epoch == 2 && batch.header.resume.snapshot.is_none()
        });
        let batches = batches.await;
        assert_eq!(batches[before.len()].header.prev, before[before.len() - 1].header.end);
        let model = model(&batches);
        assert_equal(&lab, &model).await;
        assert!(!model.tables.contains_key("app.empty"), "{how}");
        publisher.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_log_lost_what_follows_halts_when_told_to() {
    let (lab, _) = lost(Flavour::MySql, FLUSH).await;
    let mut config = lab.config();
    config.snapshot.when_lost = WhenLost::Halt;
    let error = lab.publish_with(config).error().await.to_string();
    assert!(error.contains("purged or reset") && error.contains("snapshot.when_lost"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_older_than_the_log_are_copied() {
    let lab = Lab::start(Flavour::MySql).await;
    prepare(&lab, 100).await;
    // The log begins in a later second than the table's.
    lab.sql_until("SELECT UNIX_TIMESTAMP() > MAX(UNIX_TIMESTAMP(create_time)) FROM information_schema.tables WHERE table_schema = 'app'").await;
    lab.sql(&["RESET BINARY LOGS AND GTIDS"]).await;
    let publisher = lab.publish();
    let batches = lab.read_until(|batch| {
        batch.header.end.file > 0
            && batch.header.resume.snapshot.is_none()
            && !batch.items.is_empty()
    });
    let model = model(&tokio::time::timeout(DEADLINE, batches).await.expect("in time"));
    assert_equal(&lab, &model).await;
    publisher.stop().await;
}

/// Makes `replica` a copy of the lab's source, and waits until it has everything.
pub(crate) async fn replicate(lab: &Lab, replica: &MySqlServer, flavour: Flavour) {
    let opts = mysql_async::Opts::from_url(&replica.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(opts).await.expect("connects");
    let port = lab.source.port();
    let account = format!(
        "MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='tributary', MASTER_PASSWORD='tributary'"
    );
    let (change, start) = match flavour {
        Flavour::MySql => (
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='tributary', SOURCE_PASSWORD='tributary', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
            ),
            "START REPLICA",
        ),
        Flavour::MariaDb => {
            (format!("CHANGE MASTER TO {account}, MASTER_USE_GTID=slave_pos"), "START SLAVE")
        }
    };
    conn.query_drop(change).await.expect("changes");
    conn.query_drop(start).await.expect("starts");
    let until = Instant::now() + DEADLINE;
    let question = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'everything'";
    while conn.query_first::<u8, _>(question).await.expect("asks") != Some(1) {
        assert!(Instant::now() < until, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stop = if flavour == Flavour::MySql { "STOP REPLICA" } else { "STOP SLAVE" };
    conn.query_drop(stop).await.expect("stops");
}

async fn a_replica_that_takes_its_source_s_place_goes_on(flavour: Flavour) {
    let lab = Lab::start(flavour).await;
    prepare(&lab, 300).await;
    let options = MySqlOptions { server_id: 2, ..MySqlOptions::source() };
    let options = options.argument("--log-slave-updates");
    let replica = MySqlServer::start(flavour, &options).expect("starts");
    let publisher = lab.publish();
    lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
    let before = lab.read_until(is_last).await;
    publisher.stop().await;
    let checkpoint = lab.state.path().join("DEVICE_001.checkpoint.json");
    let of_the_old = std::fs::read(&checkpoint).expect("there");
    lab.answer(before.last().map(applied));
    // What the publisher has not seen, the replica has. Its own log has them in the second file, behind many that
    // are carried.
    lab.sql(&[
        &format!("{SERIES} 40"),
        "INSERT INTO app.keyless VALUES (1, 'y'), (1, 'y')",
        "CREATE TABLE app.everything (id INT)",
    ])
    .await;
    replicate(&lab, &replica, flavour).await;
    let mut config = lab.config();
    config.source.port = replica.port();
    let publisher = lab.publish_with(config);
    let url = mysql_async::Opts::from_url(&replica.admin_url()).expect("a url");
    let mut conn = mysql_async::Conn::new(url).await.expect("connects");
    conn.query_drop(format!("{SERIES} 50")).await.expect("writes");
    conn.query_drop("CREATE TABLE app.on_the_other (id INT)").await.expect("writes");
    let last =
        |batch: &Batch| batch.statements.iter().any(|s| s.sql.ends_with(b"on_the_other (id INT)"));
    let batches = lab.read_until(last).await;
    assert!(batches.iter().all(|batch| batch.items.is_empty()), "nothing is copied again");
    assert_eq!(batches.last().map(|batch| batch.header.end.epoch), Some(2));
    let model = model(&batches);
    let rows = "SELECT CONCAT(id, ',', v) FROM app.t ORDER BY 1";
    let held: Vec<String> = conn.query(rows).await.expect("selects");
    assert_eq!(held, copied(&model, "app.t"));
    let rows = "SELECT CONCAT(id, ',', v) FROM app.keyless ORDER BY 1";
    let held: Vec<String> = conn.query(rows).await.expect("selects");
    assert!(held == copied(&model, "app.keyless"), "rows without a key are carried once");
    let made = |sql: &&String| sql.contains("CREATE TABLE app.t ");
    assert_eq!(model.statements.iter().filter(made).count(), 1, "{:?}", model.statements);
    publisher.stop().await;

    // The old server comes back, and finds its place taken.
    lab.answer(batches.last().map(applied));
    std::fs::write(&checkpoint, of_the_old).expect("written");
    let error = lab.publish().error().await.to_string();
    assert!(error.contains("follows server"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mysql_a_replica_that_takes_its_source_s_place_goes_on() {
    a_replica_that_takes_its_source_s_place_goes_on(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_a_replica_that_takes_its_source_s_place_goes_on() {
    a_replica_that_takes_its_source_s_place_goes_on(Flavour::MariaDb).await;
}

/// What was prepared at the old server would be decided at the new one, where its changes are not read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_copied_where_a_prepared_transaction_was_not_decided() {
    let lab = Lab::start(Flavour::MySql).await;
    prepare(&lab, 300).await;
    let options = MySqlOptions { server_id: 2, ..MySqlOptions::source() };
    let replica = MySqlServer::start(Flavour::MySql, &options).expect("starts");
    let publisher = lab.publish();
    lab.sql(&[
        "XA START 'x'",
        "INSERT INTO app.t (v) VALUES ('undecided')",
        "XA END 'x'",
        "XA PREPARE 'x'",
    ])
    .await;
    lab.sql(&["USE app", "CREATE TABLE last_one (id INT PRIMARY KEY)"]).await;
    let before = lab.read_until(is_last).await;
    publisher.stop().await;
    lab.answer(before.last().map(applied));
    lab.sql(&["CREATE TABLE app.everything (id INT)"]).await;
    replicate(&lab, &replica, Flavour::MySql).await;
    let mut config = lab.config();
    config.source.port = replica.port();
    let publisher = lab.publish_with(config);
    let copied =
        |batch: &Batch| batch.header.end.epoch == 2 && batch.header.resume.snapshot.is_none();
    let batches = lab.read_until(copied).await;
    assert!(batches[before.len()..].iter().any(|batch| !batch.items.is_empty()), "it is copied");
    publisher.stop().await;
}
