use super::*;
use crate::filter::survey::{ColumnFacts, KeyFacts, Survey, Surveyor};
use tributary_schema::{SqlMode, classify};

fn config(toml: &str) -> FilterConfig {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("filter.toml");
    std::fs::write(&path, toml).expect("written");
    tributary_runtime::config::load_with(Some(&path), Vec::new()).expect("loads")
}

fn filter(toml: &str) -> Filter {
    Filter::new(&config(toml)).expect("a filter")
}

const SHOP: &str = r#"
    databases = { exclude = ["secret", "tmp_*"] }
    tables = { exclude = ["shop.session", "*.log_*", "whole.*"] }
    columns = { include = ["shop.staff.id", "shop.staff.name"], exclude = ["shop.customer.note"] }
    salt = "0123456789abcdef"
    [[mask]]
    column = "shop.customer.phone"
    with = "hash"
    [[mask]]
    column = "shop.c*.mail"
    with = "null"
    [[mask]]
    column = "shop.customer.points"
    with = "zero"
"#;

fn decide(filter: &Filter, name: &str) -> Decision {
    let (database, table) = name.split_once('.').expect("two parts");
    filter.decide(database, table)
}

#[test]
fn tables_are_carried_unless_they_are_excluded() {
    let filter = filter(SHOP);
    for carried in ["shop.customer", "shop.Session", "Secret.t", "shop.xlog_1"] {
        assert_eq!(decide(&filter, carried), Decision::Carried, "{carried}");
    }
    for left in
        ["secret.t", "tmp_1.t", "shop.session", "other.log_2026", "whole.t", "mysql.user", "sys.x"]
    {
        assert_eq!(decide(&filter, left), Decision::Left, "{left}");
    }
    let folding = filter.folding_case(true);
    for left in ["SECRET.t", "shop.Session", "MySQL.user"] {
        assert_eq!(decide(&folding, left), Decision::Left, "{left}");
    }
}

#[test]
fn an_include_leaves_everything_else_and_an_exclude_beats_it() {
    let filter = filter(
        r#"
        databases = { include = ["a", "b"], exclude = ["b"] }
        tables = { include = ["a.t*", "b.*"], exclude = ["a.tmp"] }"#,
    );
    assert_eq!(decide(&filter, "a.t1"), Decision::Carried);
    for left in ["a.tmp", "a.x", "b.t", "c.t"] {
        assert_eq!(decide(&filter, left), Decision::Left, "{left}");
    }
    assert_eq!(filter.database("a"), Decision::Carried);
    assert_eq!(filter.database("c"), Decision::Left);
}

#[test]
fn a_database_of_which_no_table_is_carried_is_left() {
    let of_tables = filter(r#"tables = { include = ["shop.*"], exclude = ["shop_old.*"] }"#);
    assert_eq!(of_tables.database("shop"), Decision::Carried);
    assert_eq!(of_tables.database("other"), Decision::Left);
    assert_eq!(filter(SHOP).database("whole"), Decision::Left);
}

#[test]
fn columns_have_no_case_and_the_first_rule_that_fits_holds() {
    let filter = filter(SHOP);
    let of = |table: &str, column: &str| filter.column("shop", table, column);
    assert_eq!(of("customer", "NOTE"), Choice::Drop);
    assert_eq!(of("customer", "phone"), Choice::Hash);
    assert_eq!(of("customer", "mail"), Choice::Null);
    assert_eq!(of("customer", "points"), Choice::Empty);
    assert_eq!(of("customer", "name"), Choice::Keep);
    assert_eq!(of("staff", "Name"), Choice::Keep);
    assert_eq!(of("staff", "salary"), Choice::Drop, "not listed");
    assert!(!filter.touches("shop", "orders") && filter.touches("shop", "staff"));
}

#[test]
fn a_filter_that_names_nothing_or_hashes_without_a_secret_is_refused() {
    let refused = |toml: &str| Filter::new(&config(toml)).expect_err("refused").to_string();
    assert!(refused(r#"tables = { exclude = ["session"] }"#).contains("database.table"));
    assert!(
        refused(r#"columns = { exclude = ["shop.customer"] }"#).contains("database.table.column")
    );
    let hash = "[[mask]]\ncolumn = \"a.b.c\"\nwith = \"hash\"";
    assert!(refused(hash).contains("filter.salt is not set"));
    assert!(refused(&format!("salt = \"short\"\n{hash}")).contains("fewer than 16 bytes"));
}

#[test]
fn the_salt_stands_in_nothing_that_prints_or_is_stored() {
    let config = config(SHOP);
    let filter = Filter::new(&config).expect("a filter");
    let remembered = Remembered::of(&config);
    let stored = serde_json::to_string(&remembered).expect("JSON");
    for said in [format!("{filter:?}"), format!("{config:?}"), stored.clone()] {
        assert!(!said.contains("0123456789abcdef"), "{said}");
    }
    let read: Remembered = serde_json::from_str(&stored).expect("reads");
    assert_eq!(read, remembered);
    assert_eq!(read.filter().expect("a filter").column("shop", "customer", "phone"), Choice::Hash);
}

#[test]
fn the_hash_is_the_hmac_of_rfc_4231() {
    let salted = Salted::new("Jefe");
    let hash = salted.digest(b"what do ya want for nothing?");
    assert_eq!(hash[..4], [0x5b, 0xdc, 0xc1, 0x46]);
}

fn judge(filter: &Filter, database: &str, sql: &str) -> Result<Carriage, Refusal> {
    let class = classify(sql.as_bytes(), SqlMode(0));
    filter.statement(&class, Session { database, sql: sql.as_bytes(), mode: SqlMode(0) })
}

#[test]
fn statements_about_what_is_left_are_left_and_others_are_carried() {
    let filter = filter(SHOP);
    for sql in [
        "CREATE DATABASE secret",
        "DROP DATABASE IF EXISTS tmp_7",
        "CREATE TABLE session (id INT)",
        "ALTER TABLE secret.t ADD x INT",
        "DROP TABLE shop.session, secret.t",
        "RENAME TABLE secret.a TO secret.b",
        "TRUNCATE session",
        "CREATE TRIGGER secret.x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        "CREATE VIEW secret.v AS SELECT 1",
    ] {
        assert_eq!(judge(&filter, "shop", sql), Ok(Carriage::Left), "{sql}");
    }
    for sql in [
        "CREATE DATABASE shop",
        "CREATE TABLE orders (id INT PRIMARY KEY, phone INT)",
        "ALTER TABLE customer ADD x INT",
        "CREATE VIEW v AS SELECT * FROM customer JOIN information_schema.tables t",
        "GRANT SELECT ON secret.* TO x",
        "CREATE PROCEDURE p() SELECT 1",
    ] {
        assert_eq!(judge(&filter, "shop", sql), Ok(Carriage::Whole), "{sql}");
    }
}

#[test]
fn a_statement_about_both_is_carried_as_far_as_it_concerns_what_is_carried() {
    let filter = filter(SHOP);
    let changed = |sql: &str| Carriage::Changed {
        sql: Some(sql.as_bytes().to_vec()),
        without_database: true,
        without_foreign_key_checks: true,
    };
    for (sql, carried) in [
        (
            "DROP TABLE IF EXISTS orders, session, `a``b`",
            "DROP TABLE IF EXISTS `shop`.`orders`, `shop`.`a``b`",
        ),
        ("DROP VIEW v, secret.v", "DROP VIEW `shop`.`v`"),
        ("RENAME TABLE orders TO secret.orders", "DROP TABLE `shop`.`orders`"),
        ("ALTER TABLE orders RENAME TO log_orders", "DROP TABLE `shop`.`orders`"),
    ] {
        assert_eq!(judge(&filter, "shop", sql), Ok(changed(carried)), "{sql}");
    }
    let kept = |without_database, without_foreign_key_checks| Carriage::Changed {
        sql: None,
        without_database,
        without_foreign_key_checks,
    };
    let foreign = "CREATE TABLE shop.o (id INT PRIMARY KEY, s INT, FOREIGN KEY (s) REFERENCES shop.session (id))";
    assert_eq!(judge(&filter, "shop", foreign), Ok(kept(false, true)));
    assert_eq!(judge(&filter, "secret", foreign), Ok(kept(true, true)));
    assert_eq!(judge(&filter, "secret", "TRUNCATE shop.orders"), Ok(kept(true, false)));
}

#[test]
fn what_would_miss_rows_or_tell_of_what_is_left_stops_the_device() {
    let filter = filter(SHOP);
    for (sql, reason) in [
        ("RENAME TABLE session TO visits", "its rows were never carried"),
        ("ALTER TABLE secret.t RENAME shop.t", "its rows were never carried"),
        ("RENAME TABLE orders TO log_1, new TO orders", "one statement changes tables"),
        (
            "ALTER TABLE orders EXCHANGE PARTITION p WITH TABLE session",
            "one statement changes tables",
        ),
        ("CREATE TABLE visits LIKE session", "is made of shop.session"),
        ("CREATE VIEW v AS SELECT * FROM orders JOIN session", "is made of shop.session"),
        ("RENAME TABLE customer TO client", "rules for their columns differ"),
        (
            "ALTER TABLE orders EXCHANGE PARTITION p WITH TABLE customer",
            "rules for their columns differ",
        ),
        ("CREATE TABLE client LIKE customer", "rules for their columns differ"),
        ("ALTER TABLE customer ADD area CHAR(3) AS (LEFT(phone, 3))", "would tell of it"),
        ("ALTER TABLE customer RENAME COLUMN phone TO tel", "treats them differently"),
        ("ALTER TABLE customer CHANGE `phone` tel VARCHAR(64)", "treats them differently"),
        ("FROBNICATE TABLE orders", "not understood"),
    ] {
        let refusal = judge(&filter, "shop", sql).expect_err(sql);
        assert!(refusal.reason.contains(reason), "{sql}: {}", refusal.reason);
    }
    assert_eq!(judge(&super::tests::filter(""), "shop", "FROBNICATE TABLE t"), Ok(Carriage::Whole));
}

fn column(table: &str, name: &str, data_type: &str) -> ColumnFacts {
    ColumnFacts {
        table: ("shop".to_owned(), table.to_owned()),
        name: name.to_owned(),
        nullable: true,
        data_type: data_type.to_owned(),
        ..ColumnFacts::default()
    }
}

fn key(table: &str, index: &str, column: &str) -> KeyFacts {
    let table = ("shop".to_owned(), table.to_owned());
    KeyFacts { table, index: index.to_owned(), column: Some(column.to_owned()) }
}

fn survey(
    filter: &Filter,
    former: Option<(&Filter, bool)>,
    keys: &[KeyFacts],
    columns: &[ColumnFacts],
) -> Survey {
    let mut surveyor = Surveyor::new(filter, former);
    surveyor.database("shop");
    columns.iter().for_each(|column| surveyor.table(column.table.clone(), true));
    keys.iter().for_each(|key| surveyor.key(key.clone()));
    columns.iter().for_each(|column| surveyor.column(column.clone()));
    surveyor.finish()
}

#[test]
fn the_survey_refuses_what_would_not_be_exact() {
    let filter = filter(SHOP);
    let customer = [
        column("customer", "phone", "varchar"),
        ColumnFacts { nullable: false, ..column("customer", "mail", "varchar") },
        column("customer", "points", "int"),
        column("customer", "note", "text"),
        ColumnFacts {
            expression: "left(`note`,3)".to_owned(),
            ..column("customer", "start", "char")
        },
    ];
    let keys = [key("customer", "PRIMARY", "phone"), key("customer", "u", "points")];
    let found = survey(&filter, None, &keys, &customer);
    let said = found.faults.join("\n");
    for fault in [
        "phone: it is part of the primary key",
        "mail: it is NOT NULL",
        "points: a UNIQUE index would hold the same value twice",
        "start: it is generated from note",
    ] {
        assert!(said.contains(fault), "{fault} is missing in\n{said}");
    }
    assert_eq!((found.faults.len(), found.columns), (4, 4));
    let without_key = survey(&filter, None, &[], &customer[3..4]);
    assert!(without_key.faults[0].contains("no primary key"));
    let wide = ColumnFacts { characters: Some(64), ..column("customer", "phone", "varchar") };
    assert!(survey(&filter, None, &keys, &[wide]).faults.is_empty());
    let date = filter_with_hash_of_a_date();
    let found = survey(
        &date,
        None,
        &[key("customer", "PRIMARY", "id")],
        &[column("customer", "born", "date")],
    );
    assert!(found.faults[0].contains("cannot hold a hash"));
}

fn filter_with_hash_of_a_date() -> Filter {
    filter(
        "salt = \"0123456789abcdef\"\n[[mask]]\ncolumn = \"shop.customer.born\"\nwith = \"hash\"",
    )
}

#[test]
fn the_survey_names_patterns_that_match_nothing() {
    let filter = filter(SHOP);
    let found =
        survey(&filter, None, &[], &[column("session", "id", "int"), column("log_1", "id", "int")]);
    assert_eq!((found.carried, found.left), (0, 2));
    assert!(
        found.idle.contains(&"shop.c*.mail".to_owned()) && found.idle.contains(&"tmp_*".to_owned())
    );
    assert!(!found.idle.contains(&"shop.session".to_owned()), "{:?}", found.idle);
}

#[test]
fn a_filter_that_carries_more_than_before_is_noticed() {
    let former = filter(SHOP);
    let columns = [
        column("customer", "phone", "varchar"),
        column("customer", "note", "text"),
        column("session", "id", "int"),
    ];
    let widened = |now: &str, same_salt| {
        survey(&filter(now), Some((&former, same_salt)), &[], &columns).widened
    };
    assert_eq!(
        widened("", true),
        ["column shop.customer.phone", "column shop.customer.note", "table shop.session"]
    );
    assert_eq!(widened(SHOP, false), ["column shop.customer.phone"], "another salt");
    assert!(widened(SHOP, true).is_empty());
    assert!(widened("databases = { exclude = [\"shop\"] }", true).is_empty(), "less is no loss");
}
