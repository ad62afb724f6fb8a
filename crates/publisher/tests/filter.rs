//! What the filter leaves on the device is in no batch, and positions do not depend on it.

use crate::harness::{DEVICE, Lab, changes, is_done};
use tributary_testkit::Flavour;
use tributary_wire::{Batch, Cell, Position};

const SALT: &str = "a salt of more than sixteen bytes";
const FILTER: &str = r#"
[filter]
databases = { exclude = ["secret*"] }
tables = { exclude = ["shop.session"] }
columns = { exclude = ["shop.customer.note", "shop.customer.pin"] }
salt = "a salt of more than sixteen bytes"
[[filter.mask]]
column = "shop.customer.phone"
with = "hash"
[[filter.mask]]
column = "shop.customer.mail"
with = "null"
[[filter.mask]]
column = "shop.customer.points"
with = "empty"
[[filter.mask]]
column = "shop.customer.number"
with = "hash"
"#;
/// What is missing is no reason for a snapshot.
const HALT: &str = "[snapshot]\nwhen_lost = \"halt\"\n";
const CUSTOMER: &str = "CREATE TABLE shop.customer (id INT PRIMARY KEY, name VARCHAR(40), note TEXT, \
     pin CHAR(4) NOT NULL, phone VARCHAR(20) CHARACTER SET utf8mb4, mail VARCHAR(40), \
     points DECIMAL(8,2) NOT NULL, number TINYINT)";

/// Everything that a reader could get out of the batches, but for the header.
pub(crate) fn text(batches: &[Batch]) -> String {
    let mut text = changes(batches).join("\n");
    for batch in batches {
        text.push_str(&format!("{:?}", batch.items));
        for statement in &batch.statements {
            text.push_str(&String::from_utf8_lossy(&statement.sql));
        }
        for piece in &batch.pieces {
            text.push_str(&String::from_utf8_lossy(batch.bytes(*piece)));
        }
        for table in &batch.tables {
            text.push_str(&format!("{:?}", table.shape));
            for cell in table.images.iter().chain(&table.identities).flatten() {
                if let cell @ Cell::Bytes { .. } = *cell {
                    text.push_str(&String::from_utf8_lossy(batch.bytes(cell)));
                }
            }
        }
    }
    text
}

async fn what_is_left_and_masked_is_in_no_batch(flavour: Flavour) {
    let mut lab = Lab::start(flavour).await;
    lab.sections = FILTER.to_owned();
    let publisher = lab.publish();
    lab.sql(&[
        "CREATE DATABASE shop",
        "CREATE DATABASE secret1",
        CUSTOMER,
        "CREATE TABLE shop.session (id INT PRIMARY KEY, token VARCHAR(40))",
        "CREATE TABLE secret1.t (v VARCHAR(40))",
        "INSERT INTO shop.session VALUES (1, 'hidden-token')",
        "INSERT INTO secret1.t VALUES ('hidden-value'), ('hidden-value')",
        "INSERT INTO shop.customer VALUES \
         (1,'Ann','hidden-note','7777','+49-hidden-1','hidden@x',12.5,-7), (2,'Bo',NULL,'8888',NULL,NULL,1,NULL)",
        "UPDATE shop.customer SET note='hidden-too', phone='+49-hidden-1' WHERE id=2",
        "UPDATE shop.customer SET id=3 WHERE id=2",
        "DELETE FROM shop.customer WHERE id=1",
        "BEGIN",
        "INSERT INTO shop.session VALUES (2, 'hidden-token')",
        "INSERT INTO shop.customer (id, pin, points) VALUES (9, '9999', 0)",
        "DELETE FROM secret1.t",
        "COMMIT",
        "DROP TABLE shop.session, secret1.t",
        "ALTER TABLE shop.customer ADD COLUMN born DATE",
        "CREATE TABLE shop.orders (id INT)",
        "RENAME TABLE shop.orders TO secret1.orders",
        "USE shop",
        "CREATE TABLE done (id INT)",
    ])
    .await;
    let batches = lab.read_until(is_done).await;
    let got = changes(&batches);
    let rows: Vec<&String> =
        got.iter().filter(|change| change.starts_with("shop.customer")).collect();
    // echo -n '+49-hidden-1' | openssl dgst -sha256 -hmac '<the salt>': cut to 20 characters.
    let phone = &rows[0].split('\'').nth(5).expect("the masked phone").to_owned();
    assert!(phone.len() == 20 && phone.bytes().all(|b| b.is_ascii_hexdigit()), "{phone}");
    let number = rows[0].rsplit(',').next().expect("the masked number");
    assert!((0..=127).contains(&number.parse::<i64>().expect("a number")), "{number}");
    assert_eq!(rows[0], &format!("shop.customer + 1,'Ann','','{phone}',NULL,'0',{number}"));
    assert_eq!(rows[1], "shop.customer + 2,'Bo','',NULL,NULL,'0',NULL");
    assert_eq!(
        rows[2],
        &format!("shop.customer = 2,'Bo','','{phone}',NULL,'0',NULL"),
        "joins keep working"
    );
    assert_eq!(rows[3], &format!("shop.customer 2 > 3,'Bo','','{phone}',NULL,'0',NULL"));
    assert_eq!(rows[4], "shop.customer - 1");
    assert_eq!(rows[5], "shop.customer + 9,NULL,'',NULL,NULL,'0',NULL");
    let said = text(&batches);
    for hidden in ["hidden", "secret1", "session", "7777", "8888", "9999", SALT] {
        assert!(!said.contains(hidden), "{hidden} in\n{said}");
    }
    assert!(got.iter().any(|change| change.contains("DROP TABLE `shop`.`orders`")), "{got:#?}");
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_and_masked_on_mysql_is_in_no_batch() {
    what_is_left_and_masked_is_in_no_batch(Flavour::MySql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_and_masked_on_mariadb_is_in_no_batch() {
    what_is_left_and_masked_is_in_no_batch(Flavour::MariaDb).await;
}

/// Where each transaction begins and ends, and how many changes lie before each that is carried.
fn places(batches: &[Batch]) -> Vec<Position> {
    batches.iter().flat_map(|batch| &batch.transactions).map(|t| t.end).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_do_not_depend_on_the_filter() {
    let mut lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "CREATE DATABASE shop",
        "CREATE TABLE shop.a (id INT PRIMARY KEY)",
        "CREATE TABLE shop.b (id INT PRIMARY KEY)",
        "BEGIN",
        "INSERT INTO shop.b VALUES (1),(2),(3)",
        "INSERT INTO shop.a VALUES (1)",
        "INSERT INTO shop.b VALUES (4)",
        "COMMIT",
        "USE shop",
        "CREATE TABLE done (id INT)",
    ])
    .await;
    let publisher = lab.publish();
    let whole = lab.read_until(is_done).await;
    publisher.stop().await;
    let end = whole.last().expect("a batch").header.end;

    lab.sections = "[filter]\ntables = { exclude = [\"shop.b\"] }".to_owned();
    std::fs::remove_file(lab.state.path().join(format!("{DEVICE}.checkpoint.json")))
        .expect("was there");
    lab.nats.kill();
    lab.nats = tributary_testkit::NatsServer::start(&Default::default()).expect("starts");
    lab.open_cloud().await;
    let publisher = lab.publish();
    let narrowed = lab.read_until(is_done).await;
    publisher.stop().await;
    assert_eq!(narrowed.last().expect("a batch").header.end, end);
    let all = places(&whole);
    assert!(places(&narrowed).iter().all(|place| all.contains(place)), "{narrowed:#?}");
    assert!(changes(&narrowed).contains(&"shop.a + 1".to_owned()));
    assert!(!text(&narrowed).contains("shop.b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_cannot_be_exact_is_refused_at_the_start_and_in_the_log() {
    let mut lab = Lab::start(Flavour::MySql).await;
    lab.sql(&["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)"]).await;
    lab.sections = "[filter]\ncolumns = { exclude = [\"shop.*.id\"] }".to_owned();
    let error = lab.publish().error().await.to_string();
    assert!(error.contains("shop.t.id: it is part of the primary key"), "{error}");
    lab.sections = "[filter]\ncolumns = { exclude = [\"shop.*.v\"] }".to_owned();
    let publisher = lab.publish();
    lab.read_until(|batch| !batch.statements.is_empty()).await;
    lab.sql(&["CREATE TABLE shop.keyless (v INT)", "INSERT INTO shop.keyless VALUES (1)"]).await;
    let error = publisher.error().await.to_string();
    assert!(error.contains("shop.keyless cannot be kept: the table has no primary key"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_may_leave_more_than_before_and_not_less() {
    let mut lab = Lab::start(Flavour::MariaDb).await;
    lab.sql(&[
        "CREATE DATABASE shop",
        "CREATE TABLE shop.a (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE shop.b (id INT PRIMARY KEY)",
        "USE shop",
        "CREATE TABLE done (id INT)",
    ])
    .await;
    lab.sections = "[filter]\ntables = { exclude = [\"shop.b\"] }".to_owned();
    let publisher = lab.publish();
    let batches = lab.read_until(is_done).await;
    let done = crate::harness::applied(batches.last().expect("a batch"));
    lab.answer(Some(done));
    lab.asked(|question| question.published.is_some_and(|at| at.offset > 4)).await;
    publisher.stop().await;

    lab.sections = HALT.to_owned();
    let error = lab.publish().error().await.to_string();
    assert!(error.contains("table shop.b;") && error.contains("resnapshot"), "{error}");

    lab.sections =
        "[filter]\ntables = { exclude = [\"shop.b\"] }\ncolumns = { exclude = [\"shop.a.v\"] }"
            .to_owned();
    let publisher = lab.publish();
    lab.sql(&["INSERT INTO shop.a VALUES (1, 7)", "CREATE TABLE shop.done2 (id INT)"]).await;
    let more = lab.read_from(batches.last().expect("a batch").header.end, |batch| {
        batch.statements.iter().any(|s| String::from_utf8_lossy(&s.sql).contains("done2"))
    });
    let more = more.await;
    assert!(text(&more).contains("shop.a + 1\n"), "{}", text(&more));
    publisher.stop().await;

    // What was left in between is missing as well.
    lab.sections = format!("{HALT}[filter]\ntables = {{ exclude = [\"shop.b\"] }}");
    let error = lab.publish().error().await.to_string();
    assert!(error.contains("column shop.a.v;"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preflight_holds_the_filter_against_the_tables() {
    for flavour in Flavour::ALL {
        let mut lab = Lab::start(flavour).await;
        lab.sql(&[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, phone VARCHAR(20), mail VARCHAR(20) NOT NULL, \
             area CHAR(3) GENERATED ALWAYS AS (LEFT(phone, 3)) STORED, code INT NOT NULL UNIQUE)",
            "CREATE TABLE shop.log (id INT)",
            "CREATE VIEW shop.v AS SELECT phone FROM shop.t",
            "SET GLOBAL binlog_expire_logs_seconds=1209600",
        ])
        .await;
        lab.sections = "[filter]\ntables = { exclude = [\"shop.log\", \"shop.lgo\"] }\n\
             columns = { exclude = [\"shop.*.phone\", \"shop.t.code\"] }\n\
             [[filter.mask]]\ncolumn = \"shop.t.mail\"\nwith = \"null\""
            .to_owned();
        let output = crate::command::check(&lab, false).await;
        let said = crate::command::text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for line in [
            "carries 2 tables and views, leaves 1 on the device, and leaves out or masks 3 columns",
            "FAIL  filter: shop.t.area: it is generated from phone",
            "FAIL  filter: shop.t.mail: it is NOT NULL",
            "FAIL  filter: shop.t.code: a UNIQUE index would hold",
            "WARN  filter pattern \"shop.lgo\" matches nothing",
            "kept for 336 hours (14 days); for longer: SET",
            "KiB more each second",
        ] {
            assert!(said.contains(line), "{line} is missing in\n{said}");
        }
    }
}
