//! A filter means the same to a snapshot as to the log.

use crate::filter::text;
use crate::harness::{Lab, changes};
use crate::snapshot::forget;
use std::collections::BTreeMap;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, Cell, Item, Run, TableBlock};

const FILTER: &str = r#"
[filter]
databases = { exclude = ["secret*"] }
tables = { exclude = ["shop.session*"] }
columns = { exclude = ["shop.customer.note", "shop.customer.pin"] }
salt = "a salt of more than sixteen bytes"
mask = [
  { column = "shop.customer.mail", with = "null" },
  { column = "shop.customer.points", with = "empty" },
  { column = "shop.customer.h_*", with = "hash" },
  { column = "shop.member.mail", with = "hash" },
]
"#;

const CUSTOMER: &str = "CREATE TABLE shop.customer (id INT PRIMARY KEY, name VARCHAR(40), \
     note LONGTEXT, pin CHAR(4) NOT NULL, mail VARCHAR(40), points DECIMAL(8,2) NOT NULL, \
     h_text VARCHAR(20) CHARACTER SET utf8mb4, h_latin CHAR(30) CHARACTER SET latin1, \
     h_tiny TINYTEXT CHARACTER SET utf8mb4, h_bin BINARY(40), h_blob LONGBLOB, h_small SMALLINT, \
     h_mid MEDIUMINT UNSIGNED, h_big BIGINT, h_dec DECIMAL(12,3), h_float FLOAT, h_double DOUBLE, \
     h_bit BIT(12), story LONGTEXT)";

/// A row of `shop.customer` with everything set, and one with nothing.
fn customers(first: u32) -> [String; 3] {
    let big = "REPEAT('hidden-note', 30000)";
    let values = |note: &str, blob: &str, story: &str| {
        format!(
            "'Ann', {note}, '7777', 'hidden@x', 12.5, '+49-hidden-1', 'hidden ümlaut', \
             'hidden tiny', 'hidden\\0bin', {blob}, -7, 7654321, -1234567890123, -98765.432, 1.5, \
             -2.25, b'101010101010', {story}"
        )
    };
    [
        format!(
            "INSERT INTO shop.customer VALUES ({first}, {})",
            values("'hidden'", "'hidden blob'", "'kept'")
        ),
        format!(
            "INSERT INTO shop.customer VALUES ({}, {})",
            first + 1,
            values(big, big, "REPEAT('kept', 75000)")
        ),
        format!("INSERT INTO shop.customer (id, pin, points) VALUES ({}, '9999', 3)", first + 2),
    ]
}

/// Rows of chunks and of changes, as text, by table and first cell.
fn rows(batches: &[Batch]) -> BTreeMap<(String, String), String> {
    let mut rows = BTreeMap::new();
    for batch in batches {
        for item in &batch.items {
            if let Item::Chunk(chunk) = item {
                let block = &batch.tables[chunk.table as usize];
                (chunk.image..chunk.image + chunk.rows)
                    .for_each(|n| add(batch, block, n, &mut rows));
            }
        }
        for run in batch.transactions.iter().flat_map(|t| &t.runs) {
            if let Run::Rows { table, op, image, count, .. } = *run
                && op.has_image()
            {
                let block = &batch.tables[table as usize];
                (image..image + count).for_each(|n| add(batch, block, n, &mut rows));
            }
        }
    }
    rows
}

fn add(batch: &Batch, block: &TableBlock, nth: u32, rows: &mut BTreeMap<(String, String), String>) {
    let show = |column: &Vec<Cell>| match column[nth as usize] {
        Cell::Staged { .. } => "a large value".to_owned(),
        cell @ Cell::Bytes { .. } if batch.bytes(cell).len() > 10_000 => "a large value".to_owned(),
        cell @ Cell::Bytes { .. } => format!("'{}'", batch.bytes(cell).escape_ascii()),
        other => format!("{other:?}"),
    };
    let mut cells = block.images.iter().map(show);
    let key = (block.shape.table.clone(), cells.next().expect("a column"));
    rows.insert(key, cells.collect::<Vec<_>>().join(","));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_log_carry_the_same_of_a_filtered_device() {
    for flavour in Flavour::ALL {
        let mut lab = Lab::start(flavour).await;
        lab.sections = FILTER.to_owned();
        lab.sql(&[
            "CREATE DATABASE shop",
            "CREATE DATABASE secret1",
            CUSTOMER,
            "CREATE TABLE shop.member (mail VARCHAR(60) PRIMARY KEY, v INT)",
            "CREATE TABLE shop.session (id INT PRIMARY KEY, token VARCHAR(40))",
            "CREATE TABLE secret1.t (v VARCHAR(40)) ENGINE=MyISAM",
            "CREATE VIEW shop.names AS SELECT id, name FROM shop.customer",
            "CREATE VIEW shop.session_list AS SELECT id FROM shop.session",
            "CREATE PROCEDURE secret1.p() SELECT 1",
            "INSERT INTO shop.member VALUES ('hidden-a@x', 1), ('hidden-b@x', 2)",
            "INSERT INTO shop.session VALUES (1, 'hidden-token')",
            "INSERT INTO secret1.t VALUES ('hidden-value')",
        ])
        .await;
        lab.sql(&customers(1).each_ref().map(String::as_str)).await;
        forget(&lab).await;
        let publisher = lab.publish();
        let ended = |batch: &Batch| batch.header.resume.snapshot.is_none();
        let mut batches = lab.read_until(ended).await;
        let copied = rows(&batches);
        assert_eq!(copied.len(), 5, "{copied:#?}");
        lab.sql(&customers(11).each_ref().map(String::as_str)).await;
        lab.sql(&[
            "INSERT INTO shop.session VALUES (2, 'hidden-token')",
            "DELETE FROM shop.member WHERE v = 2",
            "INSERT INTO shop.member VALUES ('hidden-b@x', 2)",
            "CREATE TABLE shop.done (id INT)",
        ])
        .await;
        let end = batches.last().expect("a batch").header.end;
        let done =
            |batch: &Batch| batch.statements.iter().any(|s| s.sql.ends_with(b"done (id INT)"));
        let later = lab.read_from(end, done).await;
        publisher.stop().await;

        let changed = rows(&later);
        for id in 1..4 {
            let key = |id: i64| ("customer".to_owned(), format!("Int({id})"));
            assert_eq!(copied[&key(id)], changed[&key(id + 10)], "{flavour:?} {id}");
        }
        // A key that is hashed is found by its hash.
        let (member, _) = changed.iter().find(|((table, _), _)| table == "member").expect("a row");
        assert!(copied.contains_key(member), "{member:?} in {copied:#?}");
        let deleted = format!("shop.member - {}", member.1);
        assert!(changes(&later).contains(&deleted), "{deleted}");
        let views = text(&batches);
        assert!(views.contains("VIEW `shop`.`names`"), "{views}");
        batches.extend(later);
        let said = text(&batches);
        for hidden in ["hidden", "secret1", "session", "7777", "9999"] {
            assert!(!said.contains(hidden), "{hidden} on {flavour:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_filter_left_is_brought_by_a_new_snapshot_where_that_is_wanted() {
    let mut lab = Lab::start(Flavour::MySql).await;
    lab.sql(&[
        "CREATE DATABASE shop",
        "CREATE TABLE shop.a (id INT PRIMARY KEY)",
        "CREATE TABLE shop.b (id INT PRIMARY KEY)",
        "CREATE TABLE shop.hidden (id INT PRIMARY KEY)",
        "INSERT INTO shop.a VALUES (1)",
        "INSERT INTO shop.b VALUES (2)",
        "INSERT INTO shop.hidden VALUES (3)",
        "USE shop",
        "CREATE TABLE done (id INT)",
    ])
    .await;
    let exclude = |names: &str| {
        format!(
            "[snapshot]\nwhen_lost = \"resnapshot\"\n[filter]\ntables = {{ exclude = [{names}] }}"
        )
    };
    lab.sections = exclude("\"shop.b\", \"shop.hidden\"");
    let publisher = lab.publish();
    let batches = lab.read_until(crate::harness::is_done).await;
    let mut end = batches.last().expect("a batch").header.end;
    lab.answer(Some(crate::harness::applied(batches.last().expect("a batch"))));
    lab.asked(|question| question.published.is_some_and(|at| at >= end)).await;
    publisher.stop().await;

    // A filter that carries more.
    lab.sections = exclude("\"shop.hidden\"");
    let publisher = lab.publish();
    let ended = |batch: &Batch| batch.header.resume.snapshot.is_none();
    let widened = lab.read_from(end, ended).await;
    let keys: Vec<_> = rows(&widened).into_keys().collect();
    let row = |table: &str, id: i64| (table.to_owned(), format!("Int({id})"));
    assert_eq!(keys, [row("a", 1), row("b", 2)]);
    end = widened.last().expect("a batch").header.end;
    lab.answer(Some(crate::harness::applied(widened.last().expect("a batch"))));

    // A table that was left gets a name that is carried.
    lab.sql(&["RENAME TABLE shop.hidden TO shop.seen"]).await;
    let renamed = lab.read_from(end, ended).await;
    assert!(rows(&renamed).contains_key(&row("seen", 3)), "{renamed:#?}");
    assert!(!text(&renamed).contains("hidden"));
    publisher.stop().await;
}
