//! Every pairing of servers ends in an equal copy.

use crate::lab::{DEADLINE, all_equal, options, progress, start, workloads};
use anyhow::Result;
use tributary_testkit::Flavour::{self, MariaDb, MySql};

async fn a_workload_ends_in_an_equal_copy(device: Flavour, shard: Flavour) -> Result<()> {
    let stack = start(&options(&[device], &[shard], 1)?).await?;
    let running = workloads(&stack, 200);
    progress(&running, 3000).await?;
    all_equal(&stack, running).await
}

#[tokio::test]
async fn a_mysql_device_is_copied_to_mysql() -> Result<()> {
    a_workload_ends_in_an_equal_copy(MySql, MySql).await
}

#[tokio::test]
async fn a_mysql_device_is_copied_to_mariadb() -> Result<()> {
    a_workload_ends_in_an_equal_copy(MySql, MariaDb).await
}

#[tokio::test]
async fn a_mariadb_device_is_copied_to_mysql() -> Result<()> {
    a_workload_ends_in_an_equal_copy(MariaDb, MySql).await
}

#[tokio::test]
async fn a_mariadb_device_is_copied_to_mariadb() -> Result<()> {
    a_workload_ends_in_an_equal_copy(MariaDb, MariaDb).await
}

const TYPES: &str = "CREATE TABLE app.types (id INT PRIMARY KEY, i8 TINYINT, y YEAR, u8 TINYINT UNSIGNED, i24 MEDIUMINT, \
    u64 BIGINT UNSIGNED, f FLOAT, d DOUBLE, n DECIMAL(30,10), bits BIT(64), da DATE, ti TIME(3), dt DATETIME(6), \
    ts TIMESTAMP(2) NULL, c CHAR(10), vc VARCHAR(300), tx MEDIUMTEXT, b BINARY(6), vb VARBINARY(20), bl BLOB, \
    e ENUM('a','b','c'), s SET('a','b','c','d','e','f','g','h','i'), l1 VARCHAR(20) CHARACTER SET latin1, \
    gb VARCHAR(20) CHARACTER SET gbk) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci";
const VALUES: [&str; 5] = [
    "INSERT INTO app.types VALUES (1,-128,2155,255,-8388608,18446744073709551615,1.1,-2.2250738585072014e-308,\
     -99999999999999999999.9999999999,x'FFFFFFFFFFFFFFFF','9999-12-31','-838:59:59.000','9999-12-31 23:59:59.999999',\
     '2038-01-19 03:14:07.99','a','中文🚲''\\\\\\0\\n','x',x'00FF00000000',x'',x'27225C000A0D1A25','c','a,i','Grüße','汉字')",
    "INSERT INTO app.types (id) VALUES (2)",
    "INSERT INTO app.types VALUES (3,0,1901,0,0,0,0,0,0,0,'1000-01-01','00:00:00.001','1000-01-01 00:00:00',\
     '1970-01-01 00:00:01','','','','','','','a','','','')",
    "SET sql_mode=''",
    "INSERT INTO app.types (id, y, da, dt, ts, ti) VALUES (4, 0, '0000-00-00', '2020-00-00 00:00:00', '0000-00-00 00:00:00', '-00:00:00.5')",
];

async fn values_of_many_types_arrive_unchanged(device: Flavour, shard: Flavour) -> Result<()> {
    let stack = start(&options(&[device], &[shard], 1)?).await?;
    let mut statements = vec!["CREATE DATABASE app", TYPES];
    statements.extend(VALUES);
    statements.push("UPDATE app.types SET f = -1e-30, vc = REPEAT('''\"\\\\', 50) WHERE id = 2");
    stack.devices[0].sql(&statements).await?;
    stack.caught_up(DEADLINE).await?;
    let verdict = stack.verdict(&stack.devices[0]).await?;
    assert!(verdict.equal() && verdict.rows == 4, "{verdict}\n{:#?}", verdict.differences);
    Ok(())
}

#[tokio::test]
async fn values_of_many_types_arrive_unchanged_on_every_pairing() -> Result<()> {
    for device in Flavour::ALL {
        for shard in Flavour::ALL {
            values_of_many_types_arrive_unchanged(device, shard).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn definitions_are_altered_as_on_the_device() -> Result<()> {
    for flavour in Flavour::ALL {
        let stack = start(&options(&[flavour], &[flavour], 1)?).await?;
        stack.devices[0]
            .sql(&[
                "CREATE DATABASE app",
                "CREATE DATABASE other",
                "USE app",
                "CREATE TABLE a (id INT PRIMARY KEY, v INT)",
                "CREATE TABLE b LIKE a",
                "INSERT INTO a VALUES (1,1),(2,2)",
                "INSERT INTO b VALUES (7,7)",
                "RENAME TABLE a TO swap, b TO a, swap TO b",
                "ALTER TABLE a ADD COLUMN w VARCHAR(10) DEFAULT 'x', ADD INDEX (v)",
                // What the rows that are there get depends on the session's clock and zone.
                "SET time_zone = '+08:00'",
                "ALTER TABLE b ADD COLUMN at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, ADD COLUMN dt DATETIME DEFAULT CURRENT_TIMESTAMP",
                "CREATE TABLE clock AS SELECT * FROM b",
                "CREATE TABLE other.c (id INT PRIMARY KEY, g INT AS (id * 2) STORED, x INT)",
                "INSERT INTO other.c (id, x) VALUES (1,1),(2,2)",
                "CREATE UNIQUE INDEX u ON other.c (x)",
                "CREATE TABLE other.d AS SELECT id, x FROM other.c",
                "USE app",
                "TRUNCATE TABLE b",
                "INSERT INTO b (id, v) VALUES (5,5)",
                "RENAME TABLE b TO other.b",
                "DROP TABLE IF EXISTS not_there, a",
                "/* comment */ CREATE TABLE /*!50000 IF NOT EXISTS */ `we``ird 表` (id INT PRIMARY KEY)",
                "INSERT INTO `we``ird 表` VALUES (1)",
                "CREATE TABLE gone (id INT)",
                "DROP TABLE gone",
                "CREATE DATABASE temporary_one",
                "CREATE TABLE temporary_one.t (id INT)",
                "DROP DATABASE temporary_one",
            ])
            .await?;
        stack.caught_up(DEADLINE).await?;
        let verdict = stack.verdict(&stack.devices[0]).await?;
        assert!(
            verdict.equal() && verdict.tables == 5,
            "{flavour}: {verdict}\n{:#?}",
            verdict.differences
        );
    }
    Ok(())
}
