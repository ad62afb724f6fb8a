//! One run of a case: device, publisher, NATS, worker and shard of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use tributary_testkit::audit::{self, Difference};
use tributary_testkit::stack::{Service, Stack, StackOptions, built_binaries, connect};

use super::case::{Case, Run};
use super::expectation::{Expectation, Layout, Way};
use super::servers::Servers;
use super::sql;
use super::steps::{Action, Side, When, expand};
use super::verdict::Verdict;

/// Between two looks at how far a copy is.
const LOOK: Duration = Duration::from_millis(40);
/// Until the services are ready.
const READY: Duration = Duration::from_secs(60);
/// Differences that are told of one run.
const SHOWN: usize = 3;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the copy is right.
    pub verdict: Verdict,
    /// What the device's server refused of the case's SQL; the rest was run.
    pub refused: Vec<String>,
}

/// Runs a case, and says what came of it: after `patience` without an end, that it is stuck.
pub async fn run(run: &Run<'_>, servers: &Servers, patience: Duration) -> Outcome {
    on_servers(run, servers, patience).await.unwrap_or_else(|error| Outcome {
        verdict: Verdict::Broken(format!("{error:#}")),
        refused: Vec::new(),
    })
}

async fn on_servers(run: &Run<'_>, servers: &Servers, patience: Duration) -> Result<Outcome> {
    let expectation = &run.case.expectation;
    let options = StackOptions {
        shards: vec![run.pair.shard],
        workers: 1,
        heartbeat_seconds: 0.5,
        durable: false,
        worker_settings: format!("layout = \"{}\"", run.layout.name()),
        device_arguments: expectation.opts.clone(),
        shard_arguments: expectation.shard_opts.clone(),
        ..StackOptions::new(&[run.pair.device], built_binaries()?)
    };
    let device = servers.rent(run.pair.device, &options.device_settings()).await?;
    let shard = servers.rent(run.pair.shard, &options.shard_settings()).await?;
    let (device, kept_device) = device.split();
    let (shard, kept_shard) = shard.split();
    let stack = Stack::around(&options, vec![device], vec![shard])?;
    let layout = run.layout;
    let mut rig = Rig { stack, patience, layout, is_worn: false, refused: Vec::new() };
    let verdict = rig.play(run.case, run.way).await;
    rig.stack.services().for_each(Service::kill);
    let Rig { mut stack, is_worn, refused, .. } = rig;
    if !is_worn && let (Some(device), Some(shard)) = (stack.devices.pop(), stack.shards.pop()) {
        servers.take_back(kept_device.with(device.server)).await;
        servers.take_back(kept_shard.with(shard.server)).await;
    }
    Ok(Outcome { verdict: verdict?, refused })
}

struct Rig {
    stack: Stack,
    patience: Duration,
    layout: Layout,
    /// A step has done something to a server that nothing undoes.
    is_worn: bool,
    refused: Vec<String>,
}

/// How far a device is, as its shard says.
type Place = (u32, u64, Option<bool>, Option<String>);

impl Rig {
    async fn play(&mut self, case: &Case, way: Way) -> Result<Verdict> {
        let expectation = &case.expectation;
        if way == Way::Snapshot {
            self.before(case).await?;
            if !expectation.empty && case.before.is_some() {
                self.stack.devices[0].forget_log(self.patience).await?;
            }
        }
        self.stack.launch()?;
        self.stack.workers[0].ready(Instant::now() + READY).await?;
        if way == Way::Log {
            self.before(case).await?;
        }
        self.steps(case, When::Starting).await?;
        if case.before.is_some()
            && let Some(verdict) = self.settle().await?
        {
            return Ok(verdict);
        }
        self.steps(case, When::Running).await?;
        if let Some(live) = &case.live {
            self.sql(Side::Device, live).await.context("live.sql")?;
        }
        self.steps(case, When::After).await?;
        if let Some(verdict) = self.settle().await? {
            return Ok(verdict);
        }
        let verdict = self.compare(expectation).await?;
        Ok(if verdict == Verdict::Equal { self.told(expectation) } else { verdict })
    }

    async fn before(&mut self, case: &Case) -> Result<()> {
        if let Some(before) = &case.before {
            self.sql(Side::Device, before).await.context("before.sql")?;
        }
        self.steps(case, When::Before).await
    }

    async fn steps(&mut self, case: &Case, when: When) -> Result<()> {
        let flavour = self.stack.devices[0].server.flavour();
        for step in case.steps.iter().filter(|step| step.when == when && step.is_on(flavour)) {
            self.step(&step.action).await.with_context(|| format!("{:?}", step.action))?;
        }
        Ok(())
    }

    async fn step(&mut self, action: &Action) -> Result<()> {
        let device = &mut self.stack.devices[0];
        match action {
            Action::Sql { text, server, each, count } => {
                self.sql(*server, expand(text, each, *count).as_bytes()).await?;
            }
            Action::Arrived { table } => self.arrived(table).await?,
            Action::CatchUp => {
                if let Some(verdict) = self.settle().await? {
                    anyhow::bail!("{verdict}");
                }
            }
            Action::Heartbeats { count } => self.heartbeats(*count).await?,
            Action::RestartDevice => device.server.restart()?,
            Action::RestartPublisher => {
                device.publisher.kill();
                device.publisher.start()?;
            }
            Action::RestartWorker => {
                self.stack.workers[0].kill();
                self.stack.workers[0].start()?;
            }
            Action::Truncate { file, bytes } => {
                self.is_worn = true;
                let path = device.server.data_dir().join(file);
                std::fs::OpenOptions::new().write(true).open(path)?.set_len(*bytes)?;
            }
            Action::MakeDirectory { name } => {
                self.is_worn = true;
                std::fs::create_dir(device.server.data_dir().join(name))?;
            }
        }
        Ok(())
    }

    async fn sql(&mut self, side: Side, file: &[u8]) -> Result<()> {
        let server = match side {
            Side::Device => &self.stack.devices[0].server,
            Side::Shard => &self.stack.shards[0].server,
        };
        self.refused.extend(sql::run(server, file).await?);
        Ok(())
    }

    async fn arrived(&self, table: &str) -> Result<()> {
        let until = Instant::now() + self.patience;
        let id = &self.stack.devices[0].id;
        let counted = format!("SELECT COUNT(*) FROM {table}");
        let copied = match self.layout {
            Layout::SchemaPerDevice => format!("SELECT COUNT(*) FROM {id}__{table}"),
            Layout::Merged => format!("{counted} WHERE device_id = '{id}'"),
        };
        let mut device = connect(&self.stack.devices[0].server).await?;
        let mut shard = connect(&self.stack.shards[0].server).await?;
        loop {
            let wanted: Option<u64> = device.query_first(&counted).await?;
            // The table may not be there yet.
            if shard.query_first::<u64, _>(&copied).await.is_ok_and(|found| found == wanted) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{table} does not arrive");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn heartbeats(&self, count: u32) -> Result<()> {
        let until = Instant::now() + self.patience;
        let answered = async || {
            let metrics = self.stack.workers[0].metrics().await?;
            anyhow::Ok(metrics.get("tributary_heartbeats_answered_total", &[]).unwrap_or_default())
        };
        let goal = answered().await? + f64::from(count);
        while answered().await? < goal {
            anyhow::ensure!(Instant::now() < until, "the worker answers no heartbeats");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until the copy has come to the end of the device's log as it is now; says so if it cannot.
    async fn settle(&mut self) -> Result<Option<Verdict>> {
        let until = Instant::now() + self.patience;
        let head = self.stack.devices[0].head().await?;
        let mut conn = connect(&self.stack.shards[0].server).await?;
        loop {
            let place = self.place(&mut conn).await;
            if let Some((.., Some(reason))) = place {
                return Ok(Some(Verdict::Parked(reason)));
            }
            if let Some((file, offset, Some(true), None)) = place
                && (file, offset) >= head
            {
                conn.disconnect().await?;
                return Ok(None);
            }
            if let Some(verdict) = self.ended() {
                return Ok(Some(verdict));
            }
            if Instant::now() > until {
                let place = place.map(|(file, offset, ..)| (file, offset));
                let detail = format!("applied up to {place:?} of {head:?}; {}", self.last_words());
                return Ok(Some(Verdict::Stuck(detail)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn place(&self, conn: &mut mysql_async::Conn) -> Option<Place> {
        // MessagePack: an array of two, of which the first is the cursor of a snapshot or nil.
        let sql = "SELECT file, `offset`, snapshot IS NULL OR HEX(SUBSTRING(snapshot, 2, 1)) = 'C0', \
                   parked_reason FROM tributary.watermark WHERE device_id = ? LIMIT 1";
        // Not migrated yet: nothing has come.
        conn.exec_first(sql, (&self.stack.devices[0].id,)).await.ok().flatten()
    }

    /// A service that ended by itself.
    fn ended(&mut self) -> Option<Verdict> {
        let ended = self.stack.services().find_map(|service| {
            (!service.is_running()).then(|| format!("{}: {}", service.name, complaint(service)))
        });
        ended.map(Verdict::Stopped)
    }

    fn last_words(&mut self) -> String {
        let words = self.stack.services().map(|service| complaint(service));
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("; ")
    }

    async fn compare(&self, expectation: &Expectation) -> Result<Verdict> {
        let device = &self.stack.devices[0];
        let (source, target) = (device.server.admin_url(), self.stack.shards[0].server.admin_url());
        let own = |database: &str| format!("{}__{database}", device.id);
        let databases = self.databases(expectation).await?;
        let databases: Vec<&str> = databases.iter().map(String::as_str).collect();
        let databases = Some(databases.as_slice());
        let rows = match self.layout {
            Layout::SchemaPerDevice => audit::compare(&source, &target, databases, own).await?,
            Layout::Merged => {
                audit::compare_shared(&source, &target, databases, &device.id).await?
            }
        };
        let mut differences = rows.differences;
        if expectation.schema && device.server.flavour() == self.stack.shards[0].server.flavour() {
            let found = audit::compare_definitions(&source, &target, databases, own).await?;
            // The next AUTO_INCREMENT value may be lower: docs/fidelity.md.
            let counts = |found: &Difference| !found.detail.contains(" AUTO_INCREMENT=");
            differences.extend(found.differences.into_iter().filter(counts));
        }
        Ok(match differences.as_slice() {
            [] => Verdict::Equal,
            some => {
                let shown: Vec<String> =
                    some.iter().take(SHOWN).map(Difference::to_string).collect();
                Verdict::Differs(format!("{}: {}", some.len(), shown.join("; ")))
            }
        })
    }

    async fn databases(&self, expectation: &Expectation) -> Result<Vec<String>> {
        let mut conn = connect(&self.stack.devices[0].server).await?;
        let sql = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN \
                   ('information_schema', 'mysql', 'performance_schema', 'sys')";
        conn.query_drop("SET SESSION sql_select_limit = 18446744073709551615").await?;
        let mut databases: Vec<String> = conn.query(sql).await?;
        conn.disconnect().await?;
        databases.retain(|name| !expectation.except.contains(name));
        Ok(databases)
    }

    /// Equal, if the logs say what they should.
    fn told(&mut self, expectation: &Expectation) -> Verdict {
        let logs: String = self.stack.services().map(|service| service.log()).collect();
        for text in &expectation.told {
            if !logs.contains(text) {
                return Verdict::Told(format!("no log says {text:?}"));
            }
        }
        let is_untold = |line: &&str| expectation.untold.iter().any(|text| line.contains(text));
        match logs.lines().find(is_untold) {
            Some(line) => Verdict::Told(line.to_owned()),
            None => Verdict::Equal,
        }
    }
}

/// The last error that a service logged, or else its last warning, or else its last line.
fn complaint(service: &Service) -> String {
    let log = service.log();
    let last = |word: &str| log.lines().rfind(|line| line.contains(word));
    let line = last("ERROR").or_else(|| last("error:")).or_else(|| last("WARN"));
    line.or_else(|| log.lines().last()).unwrap_or_default().to_owned()
}
