//! Foreign keys that act at the device below its log.

use crate::device::{Change, Device, column, int, row, simple, table};
use crate::merged;
use crate::shard::{self, apply_all, parked, query, settle, target, unique};
use tributary_testkit::Flavour;
use tributary_wire::{ColumnKind, Position, Resume};

const PARENT: &str = "CREATE TABLE p (id INT PRIMARY KEY, v VARCHAR(10))";
const CHILD: &str = "CREATE TABLE c (id INT PRIMARY KEY, p INT, q INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)";

/// Two parents, 1 and 2, and rows 11 and 12 that follow them.
fn family(more: &[&str]) -> Device {
    let mut device = Device::new(&unique("cascade"));
    device.ddl(PARENT);
    device.ddl(CHILD);
    more.iter().for_each(|sql| device.ddl(sql));
    let child =
        table("c", ["id", "p", "q"].map(|name| column(name, ColumnKind::Integer)).to_vec(), 1);
    for id in [1, 2] {
        device.insert(&simple("p"), row(id, "x"));
        device.insert(&child, vec![int(10 + id), int(id), int(id)]);
    }
    device
}

#[tokio::test]
async fn a_table_that_others_follow_by_a_foreign_key_is_noted_under_each_of_its_names() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, family(&[]));
        device.ddl("RENAME TABLE p TO q");
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let row = shard::read(&mut target, &device.id).await.expect("a row");
        assert_eq!(row.cascades.len(), 2, "{flavour}: {:?}", row.cascades);
    }
}

#[tokio::test]
async fn rows_follow_where_the_log_lacks_what_a_foreign_key_does_and_nowhere_else() {
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, family(&[]));
        device.acts(true);
        device.transaction(&simple("p"), &[Change::Update(row(2, "x"), row(20, "x"))]);
        device.transaction(&simple("p"), &[Change::Delete(row(1, "x"))]);
        device.insert(&simple("p"), row(1, "again"));
        device.acts(false);
        device.transaction(&simple("p"), &[Change::Delete(row(20, "x"))]);
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        let asked = |table: &str| format!("SELECT * FROM `{}__app`.{table} ORDER BY id", device.id);
        assert_eq!(query(&mut target, &asked("c")).await, ["12|20|2"], "{flavour}");
        assert_eq!(query(&mut target, &asked("p")).await, ["1|again"], "{flavour}");
    }
}

#[tokio::test]
async fn several_foreign_keys_that_act_park_at_a_mysql_shard_before_anything_is_done() {
    let second =
        "ALTER TABLE c ADD CONSTRAINT fk2 FOREIGN KEY (q) REFERENCES p (id) ON DELETE SET NULL";
    for flavour in Flavour::ALL {
        let (mut target, mut device) = (target(flavour).await, family(&[second]));
        let batch = device.batch();
        apply_all(&mut target, &device.id, &[&batch]).await;
        device.acts(true);
        device.transaction(&simple("p"), &[Change::Update(row(2, "x"), row(2, "y"))]);
        let plain = device.batch();
        apply_all(&mut target, &device.id, &[&plain]).await;
        device.transaction(&simple("p"), &[Change::Delete(row(1, "x"))]);
        let acting = device.batch();
        let asked = format!("SELECT id FROM `{}__app`.c ORDER BY id", device.id);
        if flavour == Flavour::MariaDb {
            apply_all(&mut target, &device.id, &[&acting]).await;
            assert_eq!(query(&mut target, &asked).await, ["12"]);
        } else {
            let parked = parked(&mut target, &device.id, &[&acting]).await;
            assert!(parked.reason.contains("app.c of the device"), "{}", parked.reason);
            assert_eq!(query(&mut target, &asked).await, ["11", "12"]);
        }
    }
}

/// In the layout `schema_per_device` the shard's server refuses such a statement by itself.
#[tokio::test]
async fn a_foreign_key_that_acts_to_a_table_that_is_not_carried_parks_where_no_log_holds_what_it_does()
 {
    for (flavour, server, parks) in [
        (Flavour::MariaDb, "8.4.7", true),
        (Flavour::MySql, "8.4.7", true),
        (Flavour::MySql, "9.7.0", false),
    ] {
        let (mut target, _) = merged::target(flavour).await;
        let prev = Position::beginning(1);
        let resume = Resume { position: prev, ..Resume::default() };
        let id = unique("cascade");
        let mut device = Device::on_server(&id, "source-a", server, 1, resume, prev);
        device.ddl(CHILD);
        let batch = device.batch();
        let row = settle(&mut target, &device.id, &[&batch]).await.expect("a row");
        let reason = row.parked.map(|parked| parked.reason);
        let told = reason.as_ref().is_some_and(|reason| reason.contains("is not at the shard"));
        assert_eq!(told, parks, "{flavour}: {reason:?}");
    }
}
