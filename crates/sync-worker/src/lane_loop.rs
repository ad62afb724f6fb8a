//! The loop of a lane: take what waits, apply it in one transaction, acknowledge; and what to do when
//! that fails.

use crate::apply::{self, ApplyError, Outcome, Target};
use crate::catalog::Catalog;
use crate::classify::{Class, Subject, classify, remedy};
use crate::ddl::{self, DdlError};
use crate::job::{Job, by_device};
use crate::lane::{Delivery, Health, Lane};
use crate::metrics;
use crate::pass::Barrier;
use crate::report;
use crate::sql_error::SqlError;
use crate::watermark::Parked;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tributary_runtime::Backoff;

/// A shard that has failed for so long counts as down, and its lanes hold nobody up any more.
const DOWN_AFTER: Duration = Duration::from_secs(5);
/// Conflicts of a group before each of its devices is tried alone, and of a device alone before it
/// has to wait for a rewind.
const CONFLICTS_MAX: u32 = 3;
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long a shard is left alone whose bookkeeping is not as expected.
const HALTED: Duration = Duration::from_secs(30);

/// Why a group could not be applied.
#[derive(Debug)]
struct Failure {
    class: Class,
    error: String,
    remedy: &'static str,
    /// Which of the jobs it was, where that is known.
    owner: Option<usize>,
    keeps_connection: bool,
}

/// A lane at work.
#[derive(Debug)]
struct Running {
    lane: Lane,
    target: Option<Target>,
    failing_since: Option<Instant>,
    backoff: Backoff,
}

// === impl Lane ===

impl Lane {
    /// Runs until its entrances are gone and everything that came in is dealt with.
    pub async fn run(self) {
        let backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        let mut running = Running { lane: self, target: None, failing_since: None, backoff };
        while let Some(group) = running.next().await {
            let mut groups = VecDeque::from([by_device(group)]);
            while let Some(jobs) = groups.pop_front() {
                running.process(jobs, &mut groups).await;
            }
        }
        if let Some(target) = running.target {
            target.session.close().await;
        }
    }
}

// === impl Running ===

impl Running {
    /// Waits for a group. While the shard is down, looks whether it is back, and holds nobody up.
    async fn next(&mut self) -> Option<Vec<Delivery>> {
        while self.is_down() {
            let attempt = tokio::time::sleep(self.backoff.next());
            tokio::pin!(attempt);
            loop {
                tokio::select! {
                    () = &mut attempt => break,
                    delivery = self.lane.receive() => match delivery {
                        Some(delivery) => delivery.drop_behind(&self.lane.directory).await,
                        None => return None,
                    },
                }
            }
            // The outcome shows in the lane's health.
            let _ = self.connected().await;
        }
        self.lane.take().await
    }

    /// Applies a group, or the part of it that can be; what has to be tried in smaller groups goes to
    /// `groups`.
    async fn process(&mut self, mut jobs: Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
        while !jobs.is_empty() {
            if self.failing_since.is_some() && self.lane.finish.is_cancelled() {
                // Not acknowledged: whoever takes the partition over gets them again.
                return;
            }
            if self.is_down() {
                for job in jobs.drain(..) {
                    job.drop_behind(&self.lane.directory).await;
                }
                return;
            }
            match self.step(&mut jobs).await {
                Ok(()) => self.recovered(),
                Err(failure) => self.handle(&failure, &mut jobs, groups).await,
            }
        }
    }

    /// One transaction for all jobs, then the DDL statements at which some of them stopped. Finished
    /// jobs are acknowledged and taken out.
    async fn step(&mut self, jobs: &mut Vec<Job>) -> Result<(), Failure> {
        let (shard, lane) = (self.lane.shard.name().to_owned(), self.lane.number);
        let begun = Instant::now();
        self.connected().await?;
        let Some(target) = &mut self.target else { return Ok(()) };
        let works: Vec<_> = jobs.iter().map(Job::work).collect();
        let outcomes = apply::apply(target, &works).await.map_err(|error| apply_failed(&error))?;
        report::group(&shard, lane, jobs.len(), begun.elapsed());
        let mut unfinished = Vec::new();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let device = &jobs[index].device;
            report::outcome(&self.lane.directory, self.lane.shard_index, device, &outcome);
            let Outcome { pass, .. } = outcome;
            if let Some(barrier) = pass.barrier {
                unfinished.push((index, run_statement(target, device, &barrier).await));
            }
        }
        let mut failure = None;
        let mut park = Vec::new();
        for (index, result) in unfinished {
            match result {
                Ok(()) => park.push((index, None)),
                Err(Stop::Park(parked)) => park.push((index, Some(parked))),
                Err(Stop::Failed(mut failed)) => {
                    failed.owner = Some(index);
                    failure = failure.or(Some(failed));
                    park.push((index, None));
                }
            }
        }
        self.keep(jobs, park, failure.as_mut()).await;
        failure.map_or(Ok(()), Err)
    }

    /// Acknowledges every job but those listed, which go on, some of them only to be parked.
    async fn keep(
        &mut self,
        jobs: &mut Vec<Job>,
        unfinished: Vec<(usize, Option<Parked>)>,
        mut failure: Option<&mut Failure>,
    ) {
        let mut unfinished = unfinished.into_iter().peekable();
        for (index, mut job) in std::mem::take(jobs).into_iter().enumerate() {
            match unfinished.next_if(|(at, _)| *at == index) {
                Some((_, parked)) => {
                    if let Some(failure) = &mut failure
                        && failure.owner == Some(index)
                    {
                        failure.owner = Some(jobs.len());
                    }
                    job.park = parked;
                    jobs.push(job);
                }
                None => job.acknowledge().await,
            }
        }
    }

    async fn handle(
        &mut self,
        failure: &Failure,
        jobs: &mut Vec<Job>,
        groups: &mut VecDeque<Vec<Job>>,
    ) {
        ::metrics::counter!(metrics::RETRIES, "class" => report::class(failure.class)).increment(1);
        self.restore(failure).await;
        match failure.class {
            Class::Conflict => self.conflict(failure, jobs, groups).await,
            Class::Reconnect | Class::Unavailable => self.failing(failure).await,
            Class::Halt => self.halt(failure).await,
            Class::Data => self.refused(failure, jobs, groups),
        }
    }

    /// Ends what the transaction left behind, or drops the connection.
    async fn restore(&mut self, failure: &Failure) {
        let Some(target) = &mut self.target else { return };
        let keeps = failure.keeps_connection && failure.class != Class::Reconnect;
        if !keeps || target.session.reset().await.is_err() {
            self.target = None;
        }
    }

    async fn conflict(
        &mut self,
        failure: &Failure,
        jobs: &mut Vec<Job>,
        groups: &mut VecDeque<Vec<Job>>,
    ) {
        for job in jobs.iter_mut() {
            job.conflicts += 1;
        }
        let exhausted = jobs.iter().any(|job| job.conflicts > CONFLICTS_MAX);
        if exhausted && jobs.len() > 1 {
            split(jobs, groups);
        } else if exhausted {
            for job in jobs.drain(..) {
                tracing::warn!(
                    device = %job.device,
                    shard = self.lane.shard.name(),
                    error = failure.error,
                    "someone else holds this device's rows locked; its batches wait for a rewind"
                );
                job.drop_behind(&self.lane.directory).await;
            }
        } else {
            tokio::time::sleep(self.backoff.next()).await;
        }
    }

    /// Someone refused the data: in a group each device is tried alone; a device alone is looked at
    /// once more, with a fresh picture of its tables, then parked.
    fn refused(&mut self, failure: &Failure, jobs: &mut Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
        if let Some(target) = &mut self.target {
            target.catalog.clear();
        }
        if jobs.len() > 1 {
            split(jobs, groups);
            return;
        }
        for job in jobs.iter_mut() {
            if job.looked_again {
                let remedy = failure.remedy.to_owned();
                job.park = Some(Parked { reason: failure.error.clone(), remedy });
            }
            job.looked_again = true;
        }
    }

    async fn failing(&mut self, failure: &Failure) {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= DOWN_AFTER {
            self.go_down(&failure.error);
        } else {
            tracing::warn!(
                shard = self.lane.shard.name(),
                lane = self.lane.number,
                error = failure.error,
                "the shard fails; the group is tried again"
            );
            tokio::time::sleep(self.backoff.next()).await;
        }
    }

    async fn halt(&mut self, failure: &Failure) {
        tracing::error!(
            shard = self.lane.shard.name(),
            error = failure.error,
            "the shard's bookkeeping database is not what this build expects; nothing is written there before it is: compare its tables with schemas/shard/"
        );
        self.target = None;
        self.lane.shard.distrust().await;
        self.go_down(&failure.error);
        self.backoff = Backoff::new(HALTED, HALTED);
    }

    fn go_down(&mut self, error: &str) {
        if !self.is_down() {
            tracing::error!(
                shard = self.lane.shard.name(),
                lane = self.lane.number,
                error,
                "the shard is down: its devices' batches are dropped and will be published again; bring the shard back, or correct its credentials"
            );
        }
        self.target = None;
        self.lane.health.send_replace(Health::Down);
    }

    fn recovered(&mut self) {
        if self.failing_since.take().is_some() || self.is_down() {
            tracing::info!(
                shard = self.lane.shard.name(),
                lane = self.lane.number,
                "the shard is back"
            );
        }
        self.backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        self.lane.health.send_replace(Health::Up);
    }

    fn is_down(&self) -> bool {
        *self.lane.health.borrow() == Health::Down
    }

    /// Connects where there is no connection.
    async fn connected(&mut self) -> Result<(), Failure> {
        if self.target.is_some() {
            return Ok(());
        }
        let session = self.lane.shard.connect().await.map_err(|error| Failure {
            class: Class::Unavailable,
            error: error.to_string(),
            remedy: "",
            owner: None,
            keeps_connection: false,
        })?;
        let database = self.lane.shard.settings().bookkeeping.clone();
        self.target = Some(Target { session, catalog: Catalog::default(), database });
        if self.is_down() {
            self.recovered();
        }
        Ok(())
    }
}

/// Why a statement did not run to its end.
enum Stop {
    Park(Parked),
    Failed(Failure),
}

async fn run_statement(
    target: &mut Target,
    device: &tributary_wire::DeviceId,
    barrier: &Barrier<'_>,
) -> Result<(), Stop> {
    let error = match ddl::apply(target, device, barrier).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let text = error.to_string();
    Err(match error {
        DdlError::Stop(parked) => Stop::Park(parked),
        DdlError::Busy => Stop::Failed(Failure {
            class: Class::Conflict,
            error: text,
            remedy: "",
            owner: None,
            keeps_connection: true,
        }),
        DdlError::Bookkeeping(source) => {
            Stop::Failed(failed(&source, Subject::Bookkeeping, text, None))
        }
        DdlError::Statement { source, .. } => match classify(&source, Subject::Device) {
            Class::Data => Stop::Park(Parked { reason: text, remedy: remedy(&source).to_owned() }),
            Class::Conflict | Class::Reconnect | Class::Unavailable | Class::Halt => {
                Stop::Failed(failed(&source, Subject::Device, text, None))
            }
        },
    })
}

fn apply_failed(error: &ApplyError) -> Failure {
    failed(&error.source, error.subject, error.source.to_string(), error.owner)
}

fn failed(source: &SqlError, subject: Subject, error: String, owner: Option<usize>) -> Failure {
    Failure {
        class: classify(source, subject),
        error,
        remedy: remedy(source),
        owner,
        keeps_connection: source.keeps_connection(),
    }
}

/// Each job becomes a group of its own.
fn split(jobs: &mut Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
    for job in jobs.drain(..).rev() {
        groups.push_front(vec![Job { conflicts: 0, ..job }]);
    }
}
