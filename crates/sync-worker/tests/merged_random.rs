//! Devices that do anything at all, in the layout `merged`, against a model of each.

use crate::device::{Change, Device, Value, column, int, table, text};
use crate::merged::{device, rows, successor, target};
use crate::shard::work;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use tributary_sync_worker::apply;
use tributary_sync_worker::ddl;
use tributary_testkit::Flavour;
use tributary_wire::{Batch, ColumnKind, TableShape};

/// The versions of an application, by the columns of its table; each adds to the one before, or takes away.
const VERSIONS: [&[&str]; 4] =
    [&["id", "n"], &["id", "n", "v"], &["id", "n", "v", "m"], &["id", "v", "m"]];
/// The statements from one version to the next.
const UPGRADES: [&str; 3] = [
    "ALTER TABLE t ADD v VARCHAR(20) NOT NULL DEFAULT 'new'",
    "ALTER TABLE t ADD m INT, MODIFY n BIGINT",
    "ALTER TABLE t DROP n",
];

/// A device, and what its tables `t` and `k` hold. A value that a version lacks is `None`.
struct Modelled {
    device: Device,
    version: usize,
    keyed: BTreeMap<i64, BTreeMap<&'static str, Option<String>>>,
    keyless: Vec<i64>,
    /// The batches of it that are not applied.
    waiting: Vec<Batch>,
}

impl Modelled {
    fn new(version: usize) -> Self {
        let mut device = device();
        let columns: Vec<String> = VERSIONS[version].iter().map(|name| definition(name)).collect();
        device.ddl(&format!("CREATE TABLE t ({}) CHARSET utf8mb4", columns.join(",")));
        device.ddl("CREATE TABLE k (n INT)");
        Self { device, version, keyed: BTreeMap::new(), keyless: Vec::new(), waiting: Vec::new() }
    }

    fn columns(&self) -> &'static [&'static str] {
        VERSIONS[self.version]
    }

    fn shape(&self) -> Arc<TableShape> {
        let kind = |name: &str| if name == "v" { ColumnKind::Text } else { ColumnKind::Integer };
        table("t", self.columns().iter().map(|name| column(name, kind(name))).collect(), 1)
    }

    fn values(&self, id: i64) -> Vec<Value> {
        let row = &self.keyed[&id];
        let value = |name: &&'static str| match (*name, row.get(name)) {
            ("id", _) => int(id),
            ("v", Some(Some(v))) => text(v),
            (_, Some(Some(number))) => int(number.parse().expect("a number")),
            _ => Value::Null,
        };
        self.columns().iter().map(value).collect()
    }

    fn step(&mut self, random: &mut Rng) {
        let (t, k) = (self.shape(), table("k", vec![column("n", ColumnKind::Integer)], 0));
        let id = random.i64(0..12);
        match random.u8(0..40) {
            0..=22 => {
                let old = self.keyed.contains_key(&id).then(|| self.values(id));
                let row = self.columns().iter().filter(|name| **name != "id").map(|name| {
                    let is_null = *name == "m" && random.bool();
                    (*name, (!is_null).then(|| random.u16(..).to_string()))
                });
                let row = row.collect();
                self.keyed.insert(id, row);
                let new = self.values(id);
                let change = match old {
                    Some(old) => Change::Update(old, new),
                    None => Change::Insert(new),
                };
                self.device.transaction(&t, &[change]);
            }
            23..=27 if self.keyed.contains_key(&id) => {
                self.device.transaction(&t, &[Change::Delete(self.values(id))]);
                self.keyed.remove(&id);
            }
            28..=31 => {
                self.keyless.push(id % 3);
                self.device.insert(&k, vec![int(id % 3)]);
            }
            32 | 33 if !self.keyless.is_empty() => {
                let n = self.keyless.swap_remove(random.usize(0..self.keyless.len()));
                self.device.transaction(&k, &[Change::Delete(vec![int(n)])]);
            }
            34 if self.version + 1 < VERSIONS.len() => {
                self.device.ddl(UPGRADES[self.version]);
                self.version += 1;
                for row in self.keyed.values_mut() {
                    match self.version {
                        1 => drop(row.insert("v", Some("new".into()))),
                        2 => drop(row.insert("m", None)),
                        _ => drop(row.remove("n")),
                    }
                }
            }
            35 => {
                self.device.ddl("TRUNCATE TABLE t");
                self.keyed.clear();
            }
            36 => {
                self.device.ddl("RENAME TABLE t TO other");
                self.device.ddl("RENAME TABLE other TO t");
            }
            _ => self.waiting.push(self.device.batch()),
        }
    }

    fn rows(&self) -> Vec<String> {
        let row = |(id, row): (&i64, &BTreeMap<&str, Option<String>>)| {
            let value = |name: &&'static str| match *name {
                "id" => id.to_string(),
                name => row[name].clone().unwrap_or("~".into()),
            };
            self.columns().iter().map(value).collect::<Vec<_>>().join("|")
        };
        self.keyed.iter().map(row).collect()
    }
}

fn definition(name: &str) -> String {
    match name {
        "id" => "id INT PRIMARY KEY".to_owned(),
        "v" => "v VARCHAR(20) NOT NULL DEFAULT 'new'".to_owned(),
        name => format!("{name} INT"),
    }
}

/// Some order in which the batches of devices reach a worker, with deaths of workers in between.
async fn interleaved(flavour: Flavour, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let (mut worker, app) = target(flavour).await;
    let mut devices: Vec<Modelled> = (0..3).map(|at| Modelled::new(at % 2)).collect();
    for _ in 0..6 {
        for _ in 0..60 {
            let at = random.usize(0..devices.len());
            devices[at].step(&mut random);
        }
        if random.bool() {
            worker = successor(flavour, &worker.database.clone()).await;
        }
        devices.iter_mut().for_each(|one| one.waiting.push(one.device.batch()));
        settle(&mut worker, &mut devices).await;
    }
    for one in &devices {
        let columns = one.columns().join(",");
        let found = rows(&mut worker, &one.device, &columns, &format!("{app}.t")).await;
        let mut wanted = one.rows();
        // Ordered by id, which is first.
        wanted.sort_by_key(|row| row.split('|').next().and_then(|id| id.parse::<i64>().ok()));
        assert_eq!(found, wanted, "{flavour} seed {seed}: {}", one.device.id);
        let sql = format!("{app}.k");
        let found = rows(&mut worker, &one.device, "n, 1", &sql).await;
        let mut wanted: Vec<String> = one.keyless.iter().map(|n| format!("{n}|1")).collect();
        wanted.sort();
        assert_eq!(found, wanted, "{flavour} seed {seed}: {}", one.device.id);
    }
}

/// Applies what waits as a lane does: all devices in a transaction, then the statements at which some stopped.
async fn settle(worker: &mut crate::shard::Target, devices: &mut [Modelled]) {
    loop {
        let works: Vec<_> = devices
            .iter()
            .map(|one| work(&one.device.id, &one.waiting.iter().collect::<Vec<_>>()))
            .collect();
        let outcomes = apply::apply(worker, &works).await.expect("applies");
        let mut stopped = false;
        for (outcome, work) in outcomes.iter().zip(&works) {
            assert_eq!(outcome.watermark.as_ref().and_then(|row| row.parked.clone()), None);
            if let Some(barrier) = &outcome.pass.barrier {
                stopped = true;
                ddl::apply(worker, work.device, barrier).await.expect("the statement runs");
            }
        }
        if !stopped {
            break;
        }
    }
    devices.iter_mut().for_each(|one| one.waiting.clear());
}

#[tokio::test]
async fn any_interleaving_of_devices_leaves_each_ones_rows_as_they_are_there() {
    for flavour in Flavour::ALL {
        for seed in 0..3 {
            interleaved(flavour, seed).await;
        }
    }
}
