//! DDL: run once whatever happens, and as the device ran it.

use crate::device::{Device, column, row, simple, statement, table, text};
use crate::shard::{self, Target, apply_all, query, run, settle, target, unique, work};
use tributary_sync_worker::apply::{self, Outcome};
use tributary_sync_worker::ddl::{self, Begun};
use tributary_sync_worker::pass::Barrier;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, ColumnKind, ColumnShape, Position, Resume, Statement};

/// Applies what comes before the first statement of the batch, and returns that statement.
async fn barrier<'a>(target: &mut Target, device: &'a Device, batch: &'a Batch) -> Barrier<'a> {
    let works = [work(&device.id, &[batch])];
    let outcomes = apply::apply(target, &works).await.expect("applies");
    let Outcome { pass, .. } = outcomes.into_iter().next().expect("one device");
    pass.barrier.expect("there is a statement")
}

#[tokio::test]
async fn a_statement_is_a_barrier_between_the_rows_around_it() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))");
        device.insert(&simple("t"), row(1, "old"));
        device.ddl("RENAME TABLE t TO u");
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))");
        device.insert(&simple("t"), row(1, "new"));
        let batch = device.batch();
        let row = apply_all(&mut target, &device.id, &[&batch]).await;
        assert_eq!((row.position, row.shape_generation), (device.end(), 3));
        let db = format!("`{}__app`", device.id);
        assert_eq!(query(&mut target, &format!("SELECT v FROM {db}.u")).await, ["old"]);
        assert_eq!(query(&mut target, &format!("SELECT v FROM {db}.t")).await, ["new"]);
    }
}

#[tokio::test]
async fn a_crash_before_the_statement_runs_it_again() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))");
        let batch = device.batch();
        let statement = barrier(&mut target, &device, &batch).await;
        assert_eq!(
            ddl::begin(&mut target, &device.id, &statement).await.expect("begins"),
            Begun::Run
        );
        // The worker dies here. Its successor finds the note and an unchanged world.
        let mut successor = shard::connect(shard::server(flavour), &target.database).await;
        let again = barrier(&mut successor, &device, &batch).await;
        assert_eq!(
            ddl::begin(&mut successor, &device.id, &again).await.expect("begins"),
            Begun::Run
        );
        apply_all(&mut successor, &device.id, &[&batch]).await;
        let sql = format!("SELECT COUNT(*) FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut successor, &sql).await, ["0"]);
    }
}

#[tokio::test]
async fn a_crash_after_the_statement_does_not_run_it_again() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))");
        device.insert(&simple("t"), row(1, "x"));
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        // Run twice, this would make two indexes.
        device.ddl("ALTER TABLE t ADD INDEX (v)");
        device.insert(&simple("t"), row(2, "y"));
        let batch = device.batch();
        let statement = barrier(&mut target, &device, &batch).await;
        assert_eq!(
            ddl::begin(&mut target, &device.id, &statement).await.expect("begins"),
            Begun::Run
        );
        ddl::execute(&mut target, &device.id, &statement).await.expect("runs");
        // The worker dies here.
        let mut successor = shard::connect(shard::server(flavour), &target.database).await;
        let again = barrier(&mut successor, &device, &batch).await;
        let begun = ddl::begin(&mut successor, &device.id, &again).await.expect("begins");
        assert_eq!(begun, Begun::TookEffect);
        let row = apply_all(&mut successor, &device.id, &[&batch]).await;
        assert_eq!(row.intent, None);
        let sql = format!(
            "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
             WHERE table_schema='{}__app' AND table_name='t'",
            device.id
        );
        assert_eq!(query(&mut successor, &sql).await, ["2"], "{flavour}");
        let sql = format!("SELECT id FROM `{}__app`.t ORDER BY id", device.id);
        assert_eq!(query(&mut successor, &sql).await, ["1", "2"]);
    }
}

/// A snapshot's item and the log's next statement may stand at one position, after a restart the other of them.
#[tokio::test]
async fn a_note_of_another_statement_at_the_same_position_says_nothing() {
    for flavour in Flavour::ALL {
        let (mut target, id) = (target(flavour).await, unique("ddl"));
        let mut lives = [Device::new(&id), Device::new(&id)];
        let begun = lives.each_mut().map(|device| {
            device.ddl("CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(10))");
            device.ddl("CREATE TABLE b LIKE a");
            device.insert(&simple("b"), row(1, "b"));
            device.batch()
        });
        let [mut device, mut again] = lives;
        apply_all(&mut target, &device.id, &[&begun[0]]).await;
        device.ddl("CREATE VIEW v AS SELECT id FROM a");
        let batch = device.batch();
        let statement = barrier(&mut target, &device, &batch).await;
        ddl::begin(&mut target, &device.id, &statement).await.expect("begins");
        let mut successor = shard::connect(shard::server(flavour), &target.database).await;
        again.ddl("TRUNCATE TABLE b");
        let batch = again.batch();
        apply_all(&mut successor, &device.id, &[&batch]).await;
        let sql = format!("SELECT COUNT(*) FROM `{}__app`.b", device.id);
        assert_eq!(query(&mut successor, &sql).await, ["0"], "{flavour}");
    }
}

#[tokio::test]
async fn a_table_without_transactions_and_without_a_key_is_kept_as_innodb_or_parks() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        for (nth, (sql, engine)) in [
            ("CREATE TABLE t0 (id INT PRIMARY KEY) ENGINE=MyISAM", "MyISAM"),
            ("CREATE TABLE t1 (id INT NOT NULL, UNIQUE (id)) ENGINE=MyISAM", "MyISAM"),
            ("CREATE TABLE t2 (id INT)", "InnoDB"),
            ("CREATE TABLE t3 (id INT, UNIQUE (id)) ENGINE=MyISAM ROW_FORMAT=FIXED", "InnoDB"),
            ("CREATE TABLE t4 (id INT) ENGINE=MEMORY", "InnoDB"),
            ("ALTER TABLE t2 ENGINE=MyISAM", "InnoDB"),
        ]
        .into_iter()
        .enumerate()
        {
            device.ddl(sql);
            let batch = device.batch();
            apply_all(&mut target, &device.id, &[&batch]).await;
            let table = sql.split_whitespace().nth(2).expect("a name");
            let asked = format!(
                "SELECT engine FROM information_schema.tables WHERE table_schema='{}__app' AND table_name='{table}'",
                device.id
            );
            assert_eq!(query(&mut target, &asked).await, [engine], "{flavour}, {nth}");
        }
        device.ddl(
            "CREATE TABLE t5 (k INT, id INT NOT NULL AUTO_INCREMENT, KEY (k, id)) ENGINE=MyISAM",
        );
        let batch = device.batch();
        let row = settle(&mut target, &device.id, &[&batch]).await.expect("a row");
        let reason = row.parked.map(|parked| parked.reason).expect("is parked");
        assert!(reason.contains("t5") && reason.contains("InnoDB"), "{flavour}: {reason}");
    }
}

#[tokio::test]
async fn two_equal_tables_that_swap_names_swap_once() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(10))");
        device.ddl("CREATE TABLE b LIKE a");
        device.insert(&simple("a"), row(1, "a"));
        device.insert(&simple("b"), row(1, "b"));
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        device.ddl("RENAME TABLE a TO c, b TO a, c TO b");
        let batch = device.batch();
        let statement = barrier(&mut target, &device, &batch).await;
        ddl::begin(&mut target, &device.id, &statement).await.expect("begins");
        ddl::execute(&mut target, &device.id, &statement).await.expect("runs");
        let mut successor = shard::connect(shard::server(flavour), &target.database).await;
        apply_all(&mut successor, &device.id, &[&batch]).await;
        let sql = format!("SELECT v FROM `{}__app`.a", device.id);
        assert_eq!(query(&mut successor, &sql).await, ["b"], "{flavour}");
    }
}

#[tokio::test]
async fn a_drop_that_was_cut_off_between_its_tables_is_finished() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE a (id INT PRIMARY KEY)");
        device.ddl("CREATE TABLE b (id INT PRIMARY KEY)");
        device.ddl("CREATE TABLE c (id INT PRIMARY KEY)");
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        device.ddl("DROP TABLE a, b");
        let batch = device.batch();
        let statement = barrier(&mut target, &device, &batch).await;
        ddl::begin(&mut target, &device.id, &statement).await.expect("begins");
        run(&mut target, &format!("DROP TABLE `{}__app`.a", device.id)).await;
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema='{}__app'",
            device.id
        );
        assert_eq!(query(&mut target, &sql).await, ["c"], "{flavour}");
    }
}

#[tokio::test]
async fn databases_are_mapped_made_and_dropped() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE DATABASE shop CHARACTER SET latin1");
        device.ddl("CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(10))");
        device.ddl("CREATE VIEW shop.w AS SELECT t.id FROM shop.t");
        device.ddl("CREATE DATABASE gone");
        device.ddl("DROP DATABASE gone");
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!(
            "SELECT schema_name, default_character_set_name FROM information_schema.schemata \
             WHERE schema_name LIKE '{}\\_\\_%'",
            device.id
        );
        let databases = query(&mut target, &sql).await;
        assert!(databases.contains(&format!("{}__shop|latin1", device.id)), "{databases:?}");
        assert!(!databases.iter().any(|name| name.contains("gone")), "{databases:?}");
        let sql = format!("SELECT COUNT(*) FROM `{}__shop`.w", device.id);
        assert_eq!(query(&mut target, &sql).await, ["0"]);
    }
}

#[tokio::test]
async fn code_is_kept_and_never_made() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))");
        let trigger = "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'twice'";
        device.ddl(trigger);
        device.insert(&simple("t"), row(1, "once"));
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!("SELECT v FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut target, &sql).await, ["once"]);
        let sql = format!(
            "SELECT database_name, statement FROM {}.routine WHERE device_id='{}'",
            target.database, device.id
        );
        assert_eq!(query(&mut target, &sql).await, [format!("app|{trigger}")]);
    }
}

#[tokio::test]
async fn the_nearest_collation_takes_the_place_of_one_that_the_target_lacks() {
    let ddl = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10) COLLATE utf8mb4_0900_ai_ci) \
               DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_as_cs";
    let (mut target, mut device) = (target(Flavour::MariaDb).await, Device::new(&unique("ddl")));
    device.ddl(ddl);
    let batch = device.batch();
    apply_all(&mut target, &device.id, &[&batch]).await;
    let sql = format!("SHOW CREATE TABLE `{}__app`.t", device.id);
    let shown = query(&mut target, &sql).await.join("");
    assert!(shown.contains("utf8mb4_uca1400_nopad_ai_ci"), "{shown}");
    assert!(shown.contains("utf8mb4_uca1400_nopad_as_cs"), "{shown}");
}

#[tokio::test]
async fn the_session_of_a_statement_does_not_stay() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        let sql = "SELECT @@sql_mode, @@foreign_key_checks, @@character_set_client, @@collation_server, @@time_zone";
        let before = query(&mut target, sql).await;
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY)");
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let after = query(&mut target, sql).await;
        assert_eq!(before, after, "{flavour}");
    }
}

#[tokio::test]
async fn a_column_that_defaults_to_the_time_gets_that_of_the_device() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, Device::new(&unique("ddl")));
        device.ddl("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10))");
        device.insert(&simple("t"), row(1, "x"));
        device.ddl("ALTER TABLE t ADD at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP");
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!("SELECT UNIX_TIMESTAMP(at) FROM `{}__app`.t", device.id);
        assert_eq!(query(&mut target, &sql).await, ["1764000000"], "{flavour}");
        let sql = "SELECT ABS(UNIX_TIMESTAMP(NOW()) - UNIX_TIMESTAMP(SYSDATE())) < 2";
        assert_eq!(query(&mut target, sql).await, ["1"], "{flavour}");
    }
}

#[tokio::test]
async fn a_timestamp_without_a_default_is_what_it_was_at_the_device() {
    for flavour in Flavour::ALL {
        let mut target = target(flavour).await;
        for (explicit, nullable) in [(true, "YES"), (false, "NO")] {
            let mut device = Device::new(&unique("ddl"));
            let own = Statement {
                explicit_defaults_for_timestamp: Some(explicit),
                ..statement("CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP)")
            };
            device.run(&own);
            let batch = device.batch();
            apply_all(&mut target, &device.id, &[&batch]).await;
            let sql = format!(
                "SELECT is_nullable FROM information_schema.columns \
                 WHERE table_schema='{}__app' AND column_name='at'",
                device.id
            );
            assert_eq!(query(&mut target, &sql).await, [nullable], "{flavour} {explicit}");
            let sql = "SELECT @@session.explicit_defaults_for_timestamp = @@global.explicit_defaults_for_timestamp";
            assert_eq!(query(&mut target, sql).await, ["1"], "{flavour}");
        }
    }
}

#[tokio::test]
async fn a_table_that_names_no_collation_has_the_devices_on_a_server_of_another_kind() {
    for (flavour, source, server, id, wanted) in [
        (Flavour::MySql, "mariadb-7", "10.11.6-MariaDB-log", 45, "utf8mb4_general_ci"),
        (Flavour::MariaDb, "uuid", "9.7.0", 255, "utf8mb4_uca1400_nopad_ai_ci"),
    ] {
        let mut target = target(flavour).await;
        let prev = Position::beginning(1);
        let resume = Resume { position: prev, ..Resume::default() };
        let mut device = Device::on_server(&unique("ddl"), source, server, 1, resume, prev);
        device.ddl("CREATE TABLE t (v VARCHAR(20) PRIMARY KEY) DEFAULT CHARSET=utf8mb4");
        device
            .ddl("CREATE TABLE u (v VARCHAR(20) CHARACTER SET utf8mb4 PRIMARY KEY) CHARSET=latin1");
        let column = ColumnShape { collation: id, ..column("v", ColumnKind::Text) };
        for name in ["t", "u"] {
            device.insert(&table(name, vec![column.clone()], 1), vec![text("x")]);
        }
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let sql = format!(
            "SELECT collation_name FROM information_schema.columns WHERE table_schema='{}__app'",
            device.id
        );
        assert_eq!(query(&mut target, &sql).await, [wanted; 2], "{flavour}");
    }
}
