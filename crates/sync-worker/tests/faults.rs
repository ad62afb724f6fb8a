//! Everything at once: one device's data are refused, another's rows are held locked, a third's transactions
//! end in deadlocks, someone locks a fourth's table, a shard hangs. The others go on as if nothing were.

use crate::device::{Change, Device, column, int, row, simple, table, text};
use crate::lab::{SIMPLE, book, nats, select, server, setup};
use crate::shard::{self, query, run, try_query, unique};
use crate::worker::{self, Setup, caught_up, connect, eventually, heartbeat_until, publish, start};
use async_nats::Client;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tributary_sync_worker::apply::Target;
use tributary_sync_worker::operate;
use tributary_testkit::{Flavour, MySqlServer};
use tributary_wire::{ColumnKind, DeviceId, Directive, HeartbeatReply, partition};

/// How long the faults last: `TRIBUTARY_FAULT_SECONDS`, or 16.
fn fault() -> Duration {
    let given = std::env::var("TRIBUTARY_FAULT_SECONDS").ok();
    let given = given.map(|text| text.parse().expect("TRIBUTARY_FAULT_SECONDS is a number"));
    Duration::from_secs(given.unwrap_or(16))
}

/// Devices that live on the shard that is well, and are well; more than there are lanes.
const HEALTHY: usize = 10;
/// Devices that join while a shard hangs that may hold them; more than there are partitions.
const NEWCOMERS: usize = 24;

/// A device comes to so many at least.
const DEADLOCKS: u32 = 3;
/// Messages for the shard that hangs: more than its lane and its partition take in.
const FLOOD: i64 = 1200;

struct Fleet {
    client: Client,
    round: i64,
    /// Devices that no worker has heard of yet; one joins in each round.
    newcomers: Vec<Device>,
    joined: Vec<DeviceId>,
    /// With each row of the others their first two rows change.
    with_pairs: bool,
}

impl Fleet {
    /// The next row of each device, as a message each.
    async fn publish<'a>(&self, devices: impl IntoIterator<Item = &'a mut Device>) {
        for device in devices {
            device.insert(&simple("t"), row(self.round, "x"));
            publish(&self.client, &device.id.clone(), device.seal()).await;
        }
    }

    /// The same, after changes of the device's first two rows.
    async fn publish_pairs(&self, devices: &mut [&mut Device]) {
        for device in devices {
            let mut changes = [1, 2].map(|id| Change::Update(row(id, "x"), row(id, "xy"))).to_vec();
            changes.push(Change::Insert(row(self.round, "x")));
            device.transaction(&simple("t"), &changes);
            publish(&self.client, &device.id.clone(), device.seal()).await;
        }
    }

    /// Rounds for `time`, in each of which every healthy device gets a row, and every other one as well.
    /// Returns how long each took until the healthy devices' rows were there.
    async fn rounds(
        &mut self,
        mysql: &MySqlServer,
        healthy: &mut [Device],
        others: &mut [&mut Device],
        time: Duration,
    ) -> Vec<Duration> {
        let (until, mut took) = (Instant::now() + time, Vec::new());
        while Instant::now() < until || took.len() < 3 {
            self.round += 1;
            if self.with_pairs {
                self.publish_pairs(others).await;
            } else {
                self.publish(others.iter_mut().map(|device| &mut **device)).await;
            }
            if let Some(mut device) = self.newcomers.pop() {
                device.ddl(SIMPLE);
                device.insert(&simple("t"), row(1, "x"));
                publish(&self.client, &device.id.clone(), device.seal()).await;
                self.joined.push(device.id);
            }
            let begun = Instant::now();
            self.publish(healthy.iter_mut()).await;
            let mut sql = "SELECT 0".to_owned();
            for device in healthy.iter() {
                let _ = write!(
                    sql,
                    " + (SELECT COUNT(*) FROM `{}__app`.t WHERE id={})",
                    device.id, self.round
                );
            }
            eventually(mysql, &sql, &[&healthy.len().to_string()]).await;
            took.push(begun.elapsed());
        }
        took.sort();
        took
    }
}

/// Takes rows that a transaction of the device changes in the other order, again and again for this time, or
/// until it has come to so many deadlocks. InnoDB ends the lighter transaction of a cycle, which is the
/// device's. Returns how many deadlocks the server counted.
async fn cross(mut someone: Target, device: &DeviceId, time: Duration, enough: u32) -> u32 {
    let (until, rows) = (Instant::now() + time, format!("`{device}__app`.t"));
    let give_up_at = until + worker::DEADLINE;
    let book = someone.database.clone();
    run(&mut someone, &format!("CREATE TABLE {book}.heavy (v INT)")).await;
    let heavy = format!("INSERT INTO {book}.heavy SELECT id FROM information_schema.collations");
    let waits = format!(
        "SELECT COUNT(*) FROM information_schema.innodb_trx
         WHERE trx_state='LOCK WAIT' AND trx_query LIKE '%{device}__app%'"
    );
    let count = "SELECT `count` FROM information_schema.innodb_metrics WHERE name='lock_deadlocks'";
    loop {
        run(&mut someone, "START TRANSACTION").await;
        query(&mut someone, &format!("SELECT id FROM {rows} WHERE id=2 FOR UPDATE")).await;
        run(&mut someone, &heavy).await;
        let mut is_waiting = false;
        while !is_waiting && Instant::now() < give_up_at {
            // The server shows who has looked within 100 ms what there was then.
            tokio::time::sleep(Duration::from_millis(150)).await;
            is_waiting = query(&mut someone, &waits).await != ["0"];
        }
        let sql = format!("SELECT id FROM {rows} WHERE id=1 FOR UPDATE");
        let taken: Result<Vec<u64>, _> = someone.session.rows("test", &sql).await;
        // A group of many devices may be the heavier one.
        assert!(taken.as_ref().err().is_none_or(|error| error.code() == Some(1213)), "{taken:?}");
        run(&mut someone, "ROLLBACK").await;
        let deadlocks: u32 = query(&mut someone, count).await[0].parse().expect("a number");
        let now = Instant::now();
        if (now >= until && deadlocks >= enough) || now >= give_up_at {
            return deadlocks;
        }
    }
}

/// Ends up with every row of every round.
async fn complete(server: &MySqlServer, device: &DeviceId, rounds: i64) {
    let sql = format!("SELECT COUNT(*), MIN(id), MAX(id) FROM `{device}__app`.t WHERE v LIKE 'x%'");
    eventually(server, &sql, &[&format!("{rounds}|1|{rounds}")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_a_held_lock_deadlocks_and_a_hanging_shard_delay_no_other_device() {
    let (nats, book) = (nats(), book());
    let (hung, mysql) = (server(Flavour::MariaDb), shard::server(Flavour::MySql));
    let mut healthy: Vec<Device> = (0..HEALTHY).map(|_| Device::new(&unique("well"))).collect();
    let [mut refused, mut locked, mut crossed, mut fenced, mut away] =
        ["refused", "locked", "crossed", "fenced", "away"].map(|name| Device::new(&unique(name)));
    let newcomers: Vec<Device> = (0..NEWCOMERS).map(|_| Device::new(&unique("new"))).collect();
    let mut rules = String::new();
    let on = |id: &DeviceId, shard| {
        format!("[[routing.rules]]\nkind = \"pin\"\ndevice = \"{id}\"\nshard = \"{shard}\"\n")
    };
    // In a partition with a device that is well.
    let mut flood = loop {
        let device = Device::new(&unique("flood"));
        if partition(&device.id, 8) == partition(&healthy[0].id, 8) {
            break device;
        }
    };
    rules += &on(&away.id, "hung");
    rules += &on(&flood.id, "hung");
    for device in healthy.iter().chain([&refused, &locked, &crossed, &fenced]).chain(&newcomers) {
        rules += &on(&device.id, "well");
    }
    let shards = [("hung", hung.port()), ("well", mysql.port())];
    let configuration = Setup { more: &rules, ..setup("w", nats.url(), &shards, &book) };
    let worker = start(&configuration).await;
    let client = connect(&nats).await;
    let ill = [&mut refused, &mut locked, &mut crossed, &mut fenced, &mut away, &mut flood];
    for device in healthy.iter_mut().chain(ill) {
        device.ddl(SIMPLE);
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in healthy.iter().chain([&refused, &locked, &crossed, &fenced]) {
        eventually(mysql, &select(&device.id), &[]).await;
    }
    eventually(&hung, &select(&away.id), &[]).await;
    eventually(&hung, &select(&flood.id), &[]).await;
    let mut fleet = Fleet {
        client: client.clone(),
        round: 0,
        newcomers: Vec::new(),
        joined: Vec::new(),
        with_pairs: false,
    };
    let mut others = [&mut refused, &mut locked, &mut crossed, &mut fenced, &mut away];
    let before = fleet.rounds(mysql, &mut healthy, &mut others, fault()).await;
    let first = format!("{}|1|{}", fleet.round, fleet.round);
    for device in &others[1..4] {
        let sql = format!("SELECT COUNT(*), MIN(id), MAX(id) FROM `{}__app`.t", device.id);
        eventually(mysql, &sql, &[&first]).await;
    }

    let mut by_hand = shard::connect(mysql, &book).await;
    run(&mut by_hand, &format!("ALTER TABLE `{}__app`.t MODIFY v VARCHAR(1)", others[0].id)).await;
    let mut holder = shard::connect(mysql, &book).await;
    run(&mut holder, "START TRANSACTION").await;
    query(&mut holder, &format!("SELECT id FROM `{}__app`.t FOR UPDATE", others[1].id)).await;
    let mut fence = shard::connect(mysql, &book).await;
    run(&mut fence, &format!("LOCK TABLES `{}__app`.t WRITE", others[3].id)).await;
    hung.pause().expect("the shard hangs");
    // Each may be held by the shard that hangs: it waits, and holds up nobody of its partition.
    fleet.newcomers = newcomers;
    fleet.round += 1;
    // Too long for the narrowed column; changes of rows that someone locks; a row for the shard that hangs.
    fleet.with_pairs = true;
    fleet.publish_pairs(&mut others).await;
    fleet.publish(healthy.iter_mut()).await;
    for id in 1..=FLOOD {
        flood.insert(&simple("t"), row(id, "x"));
        publish(&client, &flood.id.clone(), flood.seal()).await;
    }
    let (someone, crossed) = (shard::connect(mysql, &book).await, others[2].id.clone());
    let (during, deadlocks) = tokio::join!(
        fleet.rounds(mysql, &mut healthy, &mut others, fault()),
        cross(someone, &crossed, fault(), DEADLOCKS),
    );
    println!(
        "rounds in {:?}: {} before, {} during, with {deadlocks} deadlocks; median {:?} and {:?}, slowest {:?} and {:?}",
        fault(),
        before.len(),
        during.len(),
        before[before.len() / 2],
        during[during.len() / 2],
        before[before.len() - 1],
        during[during.len() - 1],
    );
    assert!(during.len() * 6 >= before.len(), "{before:?} before, {during:?} during");
    assert!(deadlocks >= DEADLOCKS, "{deadlocks} deadlocks");
    let id = &others[1].id;
    let first = try_query(mysql, &format!("SELECT v FROM `{id}__app`.t WHERE id=1")).await;
    assert_eq!(first.expect("rows"), ["x"], "the lock was held all the time");

    hung.resume().expect("the shard goes on");
    run(&mut holder, "ROLLBACK").await;
    run(&mut fence, "UNLOCK TABLES").await;
    let parked =
        |reply: &HeartbeatReply| matches!(&reply.directive, Some(Directive::Parked { .. }));
    heartbeat_until(&client, &others[0].id, 1, Some(others[0].end()), parked).await;
    run(&mut by_hand, &format!("ALTER TABLE `{}__app`.t MODIFY v VARCHAR(100)", others[0].id))
        .await;
    let settings = worker::settings(&configuration);
    operate::release(&settings, &others[0].id, false).await.expect("releases");
    caught_up(&client, others[0]).await;
    for device in healthy.iter().chain(others[..4].iter().map(|device| &**device)) {
        complete(mysql, &device.id, fleet.round).await;
    }
    complete(&hung, &others[4].id, fleet.round).await;
    complete(&hung, &flood.id, FLOOD).await;
    assert_eq!(fleet.joined.len(), NEWCOMERS);
    for id in &fleet.joined {
        complete(mysql, id, 1).await;
    }
    worker.stop().await;
}

/// What waits for the statement is more than a lane's memory, and than a detour takes in.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_long_holds_up_no_other_device_however_much_waits_behind_it() {
    let (nats, book, mysql) = (nats(), book(), shard::server(Flavour::MySql));
    let worker = start(&setup("w", nats.url(), &[("m", mysql.port())], &book)).await;
    let client = connect(&nats).await;
    let mut slow = Device::new(&unique("slow"));
    // Enough that some share its lane.
    let mut others: Vec<Device> = (0..8).map(|_| Device::new(&unique("well"))).collect();
    slow.ddl("CREATE TABLE t (id INT PRIMARY KEY, v MEDIUMTEXT)");
    slow.insert(&simple("t"), row(0, "x"));
    publish(&client, &slow.id.clone(), slow.seal()).await;
    caught_up(&client, &slow).await;
    // An ALTER waits for whoever reads the table.
    let mut reader = shard::connect(mysql, &book).await;
    run(&mut reader, "START TRANSACTION").await;
    query(&mut reader, &format!("SELECT id FROM `{}__app`.t", slow.id)).await;
    slow.ddl("ALTER TABLE t ADD COLUMN c INT");
    publish(&client, &slow.id.clone(), slow.seal()).await;
    let shape = {
        let mut columns = simple("t").columns.clone();
        columns.push(column("c", ColumnKind::Integer));
        table("t", columns, 1)
    };
    let text_of_it = "x".repeat(900_000);
    for id in 1..=60 {
        slow.insert(&shape, vec![int(id), text(&text_of_it), int(id)]);
        publish(&client, &slow.id.clone(), slow.seal()).await;
    }
    for device in &mut others {
        device.ddl(SIMPLE);
        device.insert(&simple("t"), row(1, "x"));
        publish(&client, &device.id.clone(), device.seal()).await;
    }
    for device in &others {
        eventually(mysql, &select(&device.id), &["1|x"]).await;
    }
    let rows = format!("SELECT COUNT(*) FROM `{}__app`.t", slow.id);
    assert_eq!(query(&mut reader, &rows).await, ["1"], "the statement still waits");
    run(&mut reader, "ROLLBACK").await;
    // What found no room is read from the stream again: the device is not asked for it.
    caught_up(&client, &slow).await;
    assert_eq!(query(&mut reader, &rows).await, ["61"]);
    worker.stop().await;
}
