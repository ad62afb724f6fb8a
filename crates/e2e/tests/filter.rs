//! What a filter leaves on the device is not at the target, and what it masks arrives masked.

use crate::lab::{DEADLINE, options, start};
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use tributary_testkit::Flavour;
use tributary_testkit::stack::connect;

const FILTER: &str = r#"
[filter]
databases = { exclude = ["secret"] }
tables = { exclude = ["shop.session"] }
columns = { exclude = ["shop.customer.note", "shop.all_types.x*"] }
salt = "a salt of more than sixteen bytes"
[[filter.mask]]
column = "shop.customer.mail"
with = "null"
[[filter.mask]]
column = "shop.*.phone"
with = "hash"
[[filter.mask]]
column = "shop.hashes.h*"
with = "hash"
"#;

/// Left out, and NOT NULL without a default: each arrives with its type's empty value.
const ALL_TYPES: &str = "CREATE TABLE shop.all_types (id INT PRIMARY KEY, kept INT, \
    x1 TINYINT NOT NULL, x2 BIGINT UNSIGNED NOT NULL, x3 FLOAT NOT NULL, x4 DOUBLE NOT NULL, x5 DECIMAL(10,3) NOT NULL, \
    x6 BIT(9) NOT NULL, x7 YEAR NOT NULL, x8 DATE NOT NULL, x9 TIME(3) NOT NULL, x10 DATETIME(6) NOT NULL, \
    x11 TIMESTAMP NOT NULL, x12 VARCHAR(9) NOT NULL, x13 TEXT NOT NULL, x14 BINARY(5) NOT NULL, x15 BLOB NOT NULL, \
    x16 ENUM('a','b') NOT NULL, x17 SET('a','b') NOT NULL, x18 INT)";
const HASHES: &str = "CREATE TABLE shop.hashes (id INT PRIMARY KEY, h1 TINYINT, h2 BIGINT UNSIGNED, h3 FLOAT, h4 DOUBLE, \
    h5 DECIMAL(5,2), h6 BIT(3), h7 CHAR(70), h8 TEXT, h9 BINARY(70), h10 VARBINARY(8), h11 VARCHAR(6) CHARACTER SET latin1)";

async fn a_filtered_copy(device: Flavour, shard: Flavour) -> Result<()> {
    let options = options(&[device], &[shard], 1)?;
    let mut options = options;
    options.publisher_sections = FILTER.to_owned();
    let stack = start(&options).await?;
    stack.devices[0]
        .sql(&[
            "CREATE DATABASE shop",
            "CREATE DATABASE secret",
            "CREATE TABLE secret.t (id INT PRIMARY KEY)",
            "CREATE TABLE shop.session (id INT PRIMARY KEY)",
            "CREATE TABLE shop.customer (id INT PRIMARY KEY, name VARCHAR(20), note TEXT, mail VARCHAR(40) UNIQUE, phone VARCHAR(20))",
            "CREATE TABLE shop.calls (id INT PRIMARY KEY, phone VARCHAR(20), s INT, FOREIGN KEY (s) REFERENCES shop.session (id))",
            ALL_TYPES,
            HASHES,
            "INSERT INTO secret.t VALUES (1)",
            "INSERT INTO shop.session VALUES (1)",
            "INSERT INTO shop.customer VALUES (1,'Ann','a note','a@x','+49 1'), (2,'Bo','b note','b@x','+49 2')",
            "INSERT INTO shop.calls VALUES (1,'+49 2',1), (2,'+49 1',1), (3,'+49 2',NULL)",
            "INSERT INTO shop.all_types VALUES (1,7,1,1,1,1,1,1,2000,'2000-01-01','01:00:00','2000-01-01','2000-01-01 01:00:00','x','x','x','x','b','b',1)",
            "UPDATE shop.all_types SET kept=8, x1=2",
            "INSERT INTO shop.hashes VALUES (1,-100,5,1.5,2.5,123.45,5,'c','t','b','v','l')",
            "UPDATE shop.customer SET name='Bob', note='other' WHERE id=2",
        ])
        .await?;
    stack.caught_up(DEADLINE).await?;
    let mut conn = connect(&stack.shards[0].server).await?;
    let databases: Vec<String> = conn.query("SHOW DATABASES LIKE 'DEVICE%'").await?;
    assert_eq!(databases, ["DEVICE_001__shop"]);
    let mut tables: Vec<String> = conn.query("SHOW TABLES FROM DEVICE_001__shop").await?;
    tables.sort();
    assert_eq!(tables, ["all_types", "calls", "customer", "hashes"]);
    type Customer = (i32, String, Option<String>, Option<String>);
    let customers: Vec<Customer> = conn
        .query("SELECT id, name, note, mail FROM DEVICE_001__shop.customer ORDER BY id")
        .await?;
    let of = |id, name: &str| (id, name.to_owned(), None, None);
    assert_eq!(customers, [of(1, "Ann"), of(2, "Bob")]);
    let joined: Vec<(i32, String)> = conn
        .query("SELECT k.id, c.name FROM DEVICE_001__shop.calls k JOIN DEVICE_001__shop.customer c USING (phone) ORDER BY k.id")
        .await?;
    assert_eq!(joined, [(1, "Bob".to_owned()), (2, "Ann".to_owned()), (3, "Bob".to_owned())]);
    // printf '+49 1' | openssl dgst -sha256 -hmac 'a salt of more than sixteen bytes'
    let phone: Option<String> =
        conn.query_first("SELECT phone FROM DEVICE_001__shop.customer WHERE id=1").await?;
    assert_eq!(phone.as_deref(), Some("4a2cde98068391cbca64"));
    let empty: Option<bool> = conn
        .query_first(
            "SELECT kept=8 AND x1=0 AND x2=0 AND x3=0 AND x4=0 AND x5=0 AND x6=0 AND x7=0 AND x8=0 AND x9=0 AND x10=0 \
             AND x11=0 AND x12='' AND x13='' AND HEX(x14)='0000000000' AND x15='' AND x16='a' AND x17='' AND x18 IS NULL \
             FROM DEVICE_001__shop.all_types",
        )
        .await?;
    assert_eq!(empty, Some(true));
    let hashed: Option<bool> = conn
        .query_first(
            "SELECT h1 BETWEEN 0 AND 127 AND h2 > 5 AND h3 > 0 AND h4 > 0 AND h5 BETWEEN 0 AND 999.99 AND h6 BETWEEN 0 AND 7 \
             AND LENGTH(h7)=64 AND LENGTH(h8)=64 AND LENGTH(h9)=70 AND LENGTH(h10)=8 AND LENGTH(h11)=6 FROM DEVICE_001__shop.hashes",
        )
        .await?;
    hashed.filter(|right| *right).context("the hashes do not fit their columns")?;
    Ok(())
}

#[tokio::test]
async fn what_is_filtered_is_not_at_the_target_on_any_pairing() -> Result<()> {
    for device in Flavour::ALL {
        for shard in Flavour::ALL {
            a_filtered_copy(device, shard).await?;
        }
    }
    Ok(())
}
