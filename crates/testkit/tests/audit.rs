//! The auditor: equal data is equal, and every kind of difference is found.

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tributary_testkit::audit::{Verdict, compare, compare_definitions};
use tributary_testkit::{Flavour, MySqlOptions, MySqlServer};

/// One server serves as both sides: source databases `shop` and `bare`, target database `dev__shop`.
struct Sides {
    server: MySqlServer,
    conn: Conn,
}

const TABLES: [&str; 5] = [
    "CREATE TABLE {db}.orders (id BIGINT UNSIGNED PRIMARY KEY, note VARCHAR(100), price FLOAT, \
     at TIMESTAMP(6) NULL, raw BLOB)",
    "CREATE TABLE {db}.names (name VARCHAR(50) COLLATE utf8mb4_unicode_ci, n INT, PRIMARY KEY (name, n))",
    "CREATE TABLE {db}.log (line TEXT, level INT)",
    "INSERT INTO {db}.orders VALUES (2, 'zwei', 16777216, '2024-02-03 04:05:06.789', x'00ff'), \
     (10, NULL, 0.1, NULL, NULL), (18446744073709551615, 'last', -1e30, NULL, '')",
    "INSERT INTO {db}.names VALUES ('b', -1), ('A', 2), ('a', 1), ('Ä', 3), ('b', 5)",
];
const LINES: &str = "INSERT INTO {db}.log VALUES ('x', 1), ('x', 1), (NULL, 2), ('y', NULL)";

impl Sides {
    async fn start(flavour: Flavour) -> Result<Sides> {
        let server = MySqlServer::start(flavour, &MySqlOptions::target())?;
        let conn = Conn::from_url(server.admin_url()).await?;
        let mut sides = Sides { server, conn };
        sides.run("CREATE DATABASE bare").await?;
        for db in ["shop", "dev__shop"] {
            sides.run(&format!("CREATE DATABASE {db}")).await?;
            for statement in TABLES.iter().chain([&LINES]) {
                sides.run(&statement.replace("{db}", db)).await?;
            }
        }
        Ok(sides)
    }

    async fn run(&mut self, statement: &str) -> Result<()> {
        Ok(self.conn.query_drop(statement).await?)
    }

    async fn verdict(&self) -> Result<Verdict> {
        let url = self.server.admin_url();
        compare(&url, &url, Some(&["shop", "bare"]), |db| format!("dev__{db}")).await
    }

    /// Breaks the target and expects exactly one difference, described by `expected`.
    async fn expect(&mut self, breakage: &str, expected: &str) -> Result<()> {
        self.run(breakage).await?;
        let verdict = self.verdict().await?;
        assert_eq!(verdict.difference_count, 1, "{breakage}: {:?}", verdict.differences);
        assert!(!verdict.equal());
        assert!(verdict.to_string().contains(expected), "{verdict}");
        Ok(())
    }
}

async fn finds_every_difference(flavour: Flavour) -> Result<()> {
    let mut sides = Sides::start(flavour).await?;
    let verdict = sides.verdict().await?;
    assert!(verdict.equal(), "{verdict}");
    assert_eq!((verdict.tables, verdict.rows), (3, 12), "{verdict}");
    assert_eq!(verdict.to_string(), "equal: 12 rows in 3 tables");

    let breakage = "UPDATE dev__shop.orders SET raw = x'00fe' WHERE id = 2";
    sides.expect(breakage, "row (id='2'), column raw: source '\\x00\\xff'").await?;
    sides.run("UPDATE dev__shop.orders SET raw = x'00ff' WHERE id = 2").await?;

    // Both show as 16777200 in FLOAT's own text form.
    let breakage = "UPDATE dev__shop.orders SET price = 16777215 WHERE id = 2";
    sides.expect(breakage, "column price").await?;
    sides.run("UPDATE dev__shop.orders SET price = 16777216 WHERE id = 2").await?;

    sides.expect("DELETE FROM dev__shop.orders WHERE id = 10", "(id='10') is missing").await?;
    sides.run("INSERT INTO dev__shop.orders SELECT * FROM shop.orders WHERE id = 10").await?;

    let breakage = "INSERT INTO dev__shop.names VALUES ('á', 9)";
    sides.expect(breakage, "n='9') is only in the target").await?;
    sides.run("DELETE FROM dev__shop.names WHERE n = 9").await?;

    let breakage = "DELETE FROM dev__shop.log WHERE line = 'x' LIMIT 1";
    sides.expect(breakage, "shop.log: row (line='x', level='1') is missing").await?;
    sides.run("INSERT INTO dev__shop.log VALUES ('x', 1)").await?;

    sides.expect("ALTER TABLE dev__shop.log ADD extra INT", "only there [\"extra\"]").await?;
    sides.run("ALTER TABLE dev__shop.log DROP extra").await?;

    sides.expect("CREATE TABLE dev__shop.more (id INT)", "shop.more: only the target").await?;
    sides.run("DROP TABLE dev__shop.more").await?;

    sides.expect("DROP TABLE dev__shop.names", "shop.names: missing").await
}

#[tokio::test]
async fn every_planted_difference_is_found_on_mysql() -> Result<()> {
    finds_every_difference(Flavour::MySql).await
}

#[tokio::test]
async fn every_planted_difference_is_found_on_mariadb() -> Result<()> {
    finds_every_difference(Flavour::MariaDb).await
}

#[tokio::test]
async fn mysql_and_mariadb_with_the_same_rows_are_equal() -> Result<()> {
    let one = Sides::start(Flavour::MySql).await?;
    let other = Sides::start(Flavour::MariaDb).await?;
    let (left, right) = (one.server.admin_url(), other.server.admin_url());
    for (source, target) in [(&left, &right), (&right, &left)] {
        let verdict = compare(source, target, None, str::to_owned).await?;
        assert!(verdict.equal(), "{verdict}");
        assert_eq!(verdict.rows, 24);
    }
    Ok(())
}

#[tokio::test]
async fn differences_are_all_counted_and_the_first_twenty_kept() -> Result<()> {
    let mut sides = Sides::start(Flavour::MariaDb).await?;
    let rows: Vec<String> = (0..50).map(|n| format!("('n', {n})")).collect();
    sides.run(&format!("INSERT INTO shop.names VALUES {}", rows.join(", "))).await?;
    let verdict = sides.verdict().await?;
    assert_eq!((verdict.difference_count, verdict.differences.len()), (50, 20));
    Ok(())
}

/// Values that read alike and are not: the auditor must not go by their text alone.
async fn differences_that_the_text_does_not_show_are_found(flavour: Flavour) -> Result<()> {
    let mut sides = Sides::start(flavour).await?;
    sides.run("SET sql_mode = ''").await?;
    for (column, source, target) in [
        ("e ENUM('', 'a')", "''", "'not a member'"),
        ("s SET('', 'a')", "1", "0"),
        ("f FLOAT", "-0e0", "0e0"),
        ("d DOUBLE", "-0e0", "0e0"),
        ("d DOUBLE", "1.7976931348623157e308", "1.7976931348623155e308"),
        ("j JSON", "JSON_ARRAY(1.5)", "CAST('[1.5]' AS JSON)"),
        ("j JSON", "JSON_ARRAY(CAST('2020-01-01' AS DATE))", "JSON_ARRAY('2020-01-01')"),
    ] {
        // MariaDB keeps JSON as text, and shows -0 as 0.
        if flavour == Flavour::MariaDb && (column == "j JSON" || source == "-0e0") {
            continue;
        }
        for (db, value) in [("shop", source), ("dev__shop", target)] {
            for key in ["PRIMARY KEY", ""] {
                let table = if key.is_empty() { "bare_value" } else { "value" };
                sides.run(&format!("DROP TABLE IF EXISTS {db}.{table}")).await?;
                sides.run(&format!("CREATE TABLE {db}.{table} (id INT {key}, {column})")).await?;
                sides.run(&format!("INSERT INTO {db}.{table} VALUES (1, {value})")).await?;
            }
        }
        let verdict = sides.verdict().await?;
        for table in ["value", "bare_value"] {
            let mut found = verdict.differences.iter().map(|difference| &difference.table);
            assert!(found.any(|found| found == table), "{flavour} {column} {table}: {verdict}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn differences_that_the_text_does_not_show_are_found_on_both_servers() -> Result<()> {
    differences_that_the_text_does_not_show_are_found(Flavour::MySql).await?;
    differences_that_the_text_does_not_show_are_found(Flavour::MariaDb).await
}

#[tokio::test]
async fn differences_between_definitions_are_found() -> Result<()> {
    let mut sides = Sides::start(Flavour::MySql).await?;
    let url = sides.server.admin_url();
    let map = |db: &str| format!("dev__{db}");
    let verdict = compare_definitions(&url, &url, Some(&["shop"]), map).await?;
    assert!(verdict.equal() && verdict.tables == 3, "{verdict}");
    let breakages = [
        "ALTER TABLE dev__shop.log MODIFY level INT COMMENT 'x'",
        "ALTER TABLE dev__shop.orders ADD KEY (at DESC)",
        "ALTER DATABASE dev__shop COLLATE utf8mb4_bin",
        "DROP TABLE dev__shop.names",
    ];
    for (count, breakage) in (1..).zip(breakages) {
        sides.run(breakage).await?;
        let verdict = compare_definitions(&url, &url, Some(&["shop"]), map).await?;
        assert_eq!(verdict.difference_count, count, "{breakage}: {:?}", verdict.differences);
    }
    Ok(())
}
