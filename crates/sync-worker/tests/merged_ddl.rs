//! Statements of a device in the layout `merged`: they change its rows as they did at the device, once, and
//! no other device's.

use crate::device::{Change, Device, Value, column, int, row, simple, table};
use crate::merged::{SIMPLE, ddl, device, release, rows, settled, successor, target};
use crate::shard::{Target, apply_all, query, run, stopped, work};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tributary_sync_worker::apply::{self, Outcome};
use tributary_sync_worker::ddl::{self, Begun};
use tributary_sync_worker::pass::Barrier;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, ColumnKind, ColumnShape, DeviceId};

/// Statements beside which someone else changes the shared table. Without the lock the first few lost rows.
const STATEMENTS: usize = 20;

/// The rows of every device before a statement.
const ROWS: [(i64, &str); 3] = [(1, "1"), (2, "02"), (3, "3 ")];

/// What a statement does to the rows of `t` and `u`, and which columns they have then.
struct Case {
    sql: &'static str,
    t: Option<(&'static str, &'static [&'static str])>,
    u: Option<(&'static str, &'static [&'static str])>,
}

const SAME: Option<(&str, &[&str])> = Some(("id, v", &["1|1", "2|02", "3|3 "]));
const OTHER: Option<(&str, &[&str])> = Some(("id, v", &["7|u"]));

const CASES: [Case; 16] = [
    Case { sql: "DROP TABLE t", t: None, u: OTHER },
    Case { sql: "DROP TABLE t, u", t: None, u: None },
    Case { sql: "TRUNCATE TABLE t", t: Some(("id, v", &[])), u: OTHER },
    Case { sql: "DROP DATABASE app", t: None, u: None },
    Case { sql: "RENAME TABLE t TO x, u TO t, x TO u", t: OTHER, u: SAME },
    Case { sql: "ALTER TABLE t RENAME TO w", t: None, u: OTHER },
    Case { sql: "CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)", t: SAME, u: OTHER },
    Case { sql: "CREATE INDEX i ON t (v)", t: SAME, u: OTHER },
    Case {
        sql: "ALTER TABLE t ADD w INT NOT NULL DEFAULT 5, ADD x VARCHAR(9) FIRST",
        t: Some(("id, v, w, x", &["1|1|5|~", "2|02|5|~", "3|3 |5|~"])),
        u: OTHER,
    },
    Case {
        sql: "ALTER TABLE t ADD w INT NOT NULL, ADD at DATETIME DEFAULT CURRENT_TIMESTAMP",
        t: Some((
            "id, v, w, UNIX_TIMESTAMP(at)",
            &["1|1|0|1764000000", "2|02|0|1764000000", "3|3 |0|1764000000"],
        )),
        u: OTHER,
    },
    Case {
        sql: "ALTER TABLE t DROP v, ADD twice INT AS (id * 2) STORED",
        t: Some(("id, v, twice", &["1|~|2", "2|~|4", "3|~|6"])),
        u: OTHER,
    },
    Case {
        sql: "ALTER TABLE t CHANGE v other VARCHAR(120)",
        t: Some(("id, v, other", &["1|~|1", "2|~|02", "3|~|3 "])),
        u: OTHER,
    },
    // The device's values change, and the shared column holds them as it is.
    Case {
        sql: "ALTER TABLE t MODIFY v CHAR(50)",
        t: Some(("id, v", &["1|1", "2|02", "3|3"])),
        u: OTHER,
    },
    Case { sql: "ALTER TABLE t MODIFY id BIGINT, COMMENT 'wider'", t: SAME, u: OTHER },
    // Rows go, and no row event tells of it.
    Case {
        sql: "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (100))",
        t: SAME,
        u: OTHER,
    },
    Case { sql: "ALTER TABLE p TRUNCATE PARTITION p1", t: SAME, u: OTHER },
];

async fn prepared(target: &mut Target, device: &mut Device) {
    ddl(
        target,
        device,
        &[
            SIMPLE,
            "CREATE TABLE u LIKE t",
            "CREATE TABLE p (id INT PRIMARY KEY, v VARCHAR(100)) CHARSET utf8mb4 PARTITION BY RANGE (id) \
             (PARTITION p0 VALUES LESS THAN (2), PARTITION p1 VALUES LESS THAN (100))",
        ],
    )
    .await;
    let all: Vec<Change> = ROWS.iter().map(|(id, v)| Change::Insert(row(*id, v))).collect();
    device.transaction(&simple("t"), &all);
    device.transaction(&simple("p"), &all);
    device.insert(&simple("u"), row(7, "u"));
    settled(target, device).await;
}

async fn barrier<'a>(target: &mut Target, id: &'a DeviceId, batch: &'a Batch) -> Barrier<'a> {
    let outcomes = apply::apply(target, &[work(id, &[batch])]).await.expect("applies");
    let Outcome { pass, .. } = outcomes.into_iter().next().expect("one device");
    pass.barrier.expect("there is a statement")
}

/// Where the worker dies; its successor does the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    BeforeItRuns,
    AfterItRan,
}

async fn check(target: &mut Target, app: &str, other: &Device, case: &Case, death: Death) {
    let mut own = device();
    prepared(target, &mut own).await;
    own.ddl(case.sql);
    let batch = own.batch();
    let statement = barrier(target, &own.id, &batch).await;
    let begun = ddl::begin(target, &own.id, &statement).await.expect("begins");
    assert_eq!(begun, Begun::Run);
    if death == Death::AfterItRan {
        ddl::execute(target, &own.id, &statement).await.expect("runs");
    }
    // What a session has of the statement goes with its worker.
    target.session.reset().await.expect("reset");
    target.catalog.clear();
    apply_all(target, &own.id, &[&batch]).await;
    let label = format!("{death:?} {}", case.sql);
    for (name, wanted) in [("t", case.t), ("u", case.u)] {
        let (columns, wanted) = wanted.unwrap_or(("id, v", &[]));
        let found = rows(target, &own, columns, &format!("{app}.{name}")).await;
        assert_eq!(found, wanted, "{label}: {name}");
        let found = rows(target, other, "id, v", &format!("{app}.{name}")).await;
        assert_eq!(Some(&found[..]), same(name).as_deref(), "{label}: {name} of another device");
    }
    if case.sql.contains("TRUNCATE PARTITION") {
        let found = rows(target, &own, "id, v", &format!("{app}.p")).await;
        assert_eq!(found, ["1|1"], "{label}");
    }
    if case.sql.contains("RENAME TO w") {
        let found = rows(target, &own, "id, v", &format!("{app}.w")).await;
        assert_eq!(Some(&found[..]), same("t").as_deref(), "{label}");
    }
}

fn same(table: &str) -> Option<Vec<String>> {
    let of = if table == "t" { SAME } else { OTHER };
    of.map(|(_, rows)| rows.iter().map(|row| (*row).to_owned()).collect())
}

async fn every_case(flavour: Flavour, deaths: &[Death]) {
    let (mut target, app) = target(flavour).await;
    let mut other = device();
    prepared(&mut target, &mut other).await;
    for case in &CASES {
        for death in deaths {
            check(&mut target, &app, &other, case, *death).await;
        }
    }
}

#[tokio::test]
async fn on_mysql_a_death_anywhere_around_a_statement_leaves_its_effect_once() {
    every_case(Flavour::MySql, &[Death::BeforeItRuns, Death::AfterItRan]).await;
}

#[tokio::test]
async fn on_mariadb_a_death_anywhere_around_a_statement_leaves_its_effect_once() {
    every_case(Flavour::MariaDb, &[Death::BeforeItRuns, Death::AfterItRan]).await;
}

#[tokio::test]
async fn what_fails_between_two_tables_of_a_statement_leaves_both_as_they_were() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut own = device();
        prepared(&mut target, &mut own).await;
        own.ddl("RENAME TABLE t TO x, u TO t, x TO u");
        let batch = own.batch();
        let statement = barrier(&mut target, &own.id, &batch).await;
        let mut reader = successor(flavour, &target.database.clone()).await;
        let lock = format!("START TRANSACTION; UPDATE {app}.u SET v=v");
        run(&mut reader, &lock).await;
        ddl::begin(&mut target, &own.id, &statement).await.expect("begins");
        ddl::execute(&mut target, &own.id, &statement).await.expect("runs");
        run(&mut target, "SET SESSION innodb_lock_wait_timeout=1").await;
        let error = ddl::finish(&mut target, &own.id, &statement).await.expect_err("a lock");
        assert!(error.to_string().contains("1205"), "{flavour}: {error}");
        run(&mut reader, "ROLLBACK").await;
        // On the same connection, whose next transaction would commit what the last one left.
        run(&mut target, "START TRANSACTION; COMMIT").await;
        let found = rows(&mut reader, &own, "id, v", &format!("{app}.t")).await;
        assert_eq!(Some(&found[..]), same("t").as_deref(), "{flavour}");
        apply_all(&mut target, &own.id, &[&batch]).await;
        let found = rows(&mut reader, &own, "id, v", &format!("{app}.t")).await;
        assert_eq!(Some(&found[..]), same("u").as_deref(), "{flavour}");
    }
}

#[tokio::test]
async fn a_worker_that_remembers_an_old_table_writes_to_the_new_one() {
    for flavour in Flavour::ALL {
        let (mut lane, app) = target(flavour).await;
        let mut detour = successor(flavour, &lane.database.clone()).await;
        let (mut first, mut second) = (device(), device());
        for device in [&mut first, &mut second] {
            ddl(&mut lane, device, &[SIMPLE]).await;
            device.insert(&simple("t"), row(1, "é"));
            settled(&mut lane, device).await;
        }
        // On another connection the table gets a column, and another character set for one it had.
        let latin = "ALTER TABLE t ADD w INT, MODIFY v TEXT CHARACTER SET latin1";
        ddl(&mut detour, &mut second, &[latin]).await;
        let mut columns = simple("t").columns.clone();
        columns[1].collation = 8;
        columns.push(column("w", ColumnKind::Integer));
        let v: Vec<Value> = vec![int(2), Value::Bytes(vec![0xe9]), int(3)];
        second.insert(&table("t", columns, 1), v);
        first.insert(&simple("t"), row(2, "ü"));
        settled(&mut lane, &mut second).await;
        settled(&mut lane, &mut first).await;
        let t = format!("{app}.t");
        let found = rows(&mut lane, &second, "id, CONVERT(v USING utf8mb4), w", &t).await;
        assert_eq!(found, ["1|é|~", "2|é|3"], "{flavour}");
        let found = rows(&mut lane, &first, "id, CONVERT(v USING utf8mb4)", &t).await;
        assert_eq!(found, ["1|é", "2|ü"], "{flavour}");
    }
}

#[tokio::test]
async fn indexes_follow_and_one_that_is_too_long_is_done_without() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut device = device();
        ddl(
            &mut target,
            &mut device,
            &[
                "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), w VARCHAR(768), \
                 UNIQUE u (v), KEY p (v(9), id), UNIQUE long_one (w), FULLTEXT f (v)) CHARSET utf8mb4",
                "ALTER TABLE t ADD INDEX late (id, v), DROP INDEX p",
                "CREATE INDEX later ON t (v)",
            ],
        )
        .await;
        let sql = format!(
            "SELECT index_name, GROUP_CONCAT(column_name ORDER BY seq_in_index), MAX(non_unique) \
             FROM information_schema.statistics WHERE table_schema='{app}' GROUP BY index_name ORDER BY LOWER(index_name)"
        );
        let wanted = [
            "f|v|1",
            "late|id,v|1",
            "later|v|1",
            "p|v,id|1",
            "PRIMARY|device_id,id|0",
            "u|device_id,v|1",
        ];
        assert_eq!(query(&mut target, &sql).await, wanted, "{flavour}");
    }
}

#[tokio::test]
async fn an_alter_that_conflicts_keeps_the_rows_that_it_made_until_the_remedy_is_followed() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let (mut other, mut own) = (device(), device());
        let n = ColumnShape { unsigned: true, ..column("n", ColumnKind::Integer) };
        let numbers = table("t", vec![column("id", ColumnKind::Integer), n], 1);
        for device in [&mut other, &mut own] {
            ddl(&mut target, device, &["CREATE TABLE t (id INT PRIMARY KEY, n INT ZEROFILL)"])
                .await;
            device.insert(&numbers, vec![int(1), int(42)]);
            settled(&mut target, device).await;
        }
        own.ddl("ALTER TABLE t MODIFY n VARCHAR(30) CHARACTER SET utf8mb4");
        let batch = own.batch();
        let stop = stopped(&mut target, &own.id, &[&batch]).await;
        assert!(stop.reason.contains("column n of table"), "{flavour}: {}", stop.reason);
        let t = format!("{app}.t");
        assert_eq!(rows(&mut target, &own, "id, n + 0", &t).await, ["1|42"], "{flavour}");
        run(&mut target, &format!("ALTER TABLE {t} MODIFY n LONGTEXT COMMENT 'mixed'")).await;
        release(&mut target, &own).await;
        apply_all(&mut target, &own.id, &[&batch]).await;
        other.insert(&numbers, vec![int(2), int(7)]);
        settled(&mut target, &mut other).await;
        // What ZEROFILL made of the number is what the device has.
        assert_eq!(rows(&mut target, &own, "id, n", &t).await, ["1|0000000042"], "{flavour}");
        assert_eq!(rows(&mut target, &other, "id, n", &t).await, ["1|42", "2|7"], "{flavour}");
    }
}

/// MariaDB's `information_schema` has no table for a moment while someone alters it. A worker that believed it
/// brought no rows into the shadow, and took those of the shared table away.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_keeps_the_rows_while_someone_else_changes_the_shared_table() {
    for flavour in Flavour::ALL {
        let (mut target, app) = target(flavour).await;
        let mut own = device();
        ddl(&mut target, &mut own, &[SIMPLE]).await;
        own.transaction(&simple("t"), &ROWS.map(|(id, v)| Change::Insert(row(id, v))));
        settled(&mut target, &mut own).await;
        let is_done = Arc::new(AtomicBool::new(false));
        let (mut other, until) = (successor(flavour, &target.database).await, is_done.clone());
        let t = format!("{app}.t");
        let changes =
            ["ADD INDEX x (v)", "DROP INDEX x"].map(|what| format!("ALTER TABLE {t} {what}"));
        let altering = tokio::spawn(async move {
            while !until.load(Relaxed) {
                for sql in &changes {
                    run(&mut other, sql).await;
                }
            }
        });
        for n in 0..STATEMENTS {
            own.ddl(&format!("ALTER TABLE t COMMENT='{n}'"));
            settled(&mut target, &mut own).await;
            let rows = rows(&mut target, &own, "id, v", &t).await;
            assert_eq!(rows, ["1|1", "2|02", "3|3 "], "{flavour}, after statement {n}");
        }
        is_done.store(true, Relaxed);
        altering.await.expect("alters");
    }
}
