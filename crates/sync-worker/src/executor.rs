//! Applies jobs to a shard, and does what is due when that fails: again, each device alone, park,
//! or give the shard up for a while.

use crate::apply::{self, Outcome, Target};
use crate::classify::Class;
use crate::ddl;
use crate::failure::{Failure, Stop};
use crate::job::Job;
use crate::lane::{Health, Place};
use crate::merged::Layout;
use crate::metrics;
use crate::outage::unless_silent;
use crate::report;
use crate::watermark::Parked;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tributary_runtime::Backoff;

/// Conflicts of a group before each of its devices is tried alone.
const GROUP_CONFLICTS_MAX: u32 = 3;
/// Conflicts of a device on its detour before its batches are left in the stream.
const DETOUR_CONFLICTS_MAX: u32 = 20;
/// The same of one that there is no room for.
const DETOUR_FULL_MAX: u32 = 3;
/// So many MiB of batches have a budget more.
const MIB_PER_BUDGET: usize = 2;
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(20);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What an executor does with a device that would hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slow {
    /// Hands it back, for a detour.
    Detour,
    /// Takes the time: it has no others.
    Wait,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) place: Place,
    slow: Slow,
    pub(crate) target: Option<Target>,
    pub(crate) failing_since: Option<Instant>,
    pub(crate) backoff: Backoff,
}

// === impl Executor ===

impl Executor {
    /// Not connected, unless it is given a connection to begin with.
    pub(crate) fn new(place: Place, slow: Slow, target: Option<Target>) -> Self {
        let backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        Self { place, slow, target, failing_since: None, backoff }
    }

    /// The connection, for someone else to use.
    pub(crate) fn into_target(self) -> Option<Target> {
        self.target
    }

    /// True while the shard cannot be written to.
    pub(crate) fn is_down(&self) -> bool {
        *self.place.health.borrow() == Health::Down
    }

    /// How long to wait before the next look at a shard that is down.
    pub(crate) fn patience(&mut self) -> Duration {
        self.backoff.next()
    }

    /// Applies jobs and acknowledges them. Returns those that need a detour.
    pub(crate) async fn process(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let mut groups = VecDeque::from([jobs]);
        let mut detours = Vec::new();
        while let Some(mut jobs) = groups.pop_front() {
            while !jobs.is_empty() {
                if self.failing_since.is_some() && self.place.finish.is_cancelled() {
                    // Not acknowledged: whoever takes the partition over gets them again.
                    return Vec::new();
                }
                if self.is_down() {
                    self.leave_behind(&mut jobs).await;
                    break;
                }
                match self.step(&mut jobs, &mut detours).await {
                    Ok(()) => self.recovered(),
                    Err(failure) => {
                        self.handle(&failure, &mut jobs, &mut groups, &mut detours).await;
                    }
                }
            }
        }
        detours
    }

    /// One transaction for all jobs, then the DDL statements at which some of them stopped. Finished
    /// jobs are acknowledged and taken out.
    async fn step(&mut self, jobs: &mut Vec<Job>, detours: &mut Vec<Job>) -> Result<(), Failure> {
        let begun = Instant::now();
        self.connected().await?;
        let Some(target) = &mut self.target else { return Ok(()) };
        let works: Vec<_> = jobs.iter().map(Job::work).collect();
        let session = target.session.id();
        let applied =
            async { apply::apply(target, &works).await.map_err(|error| Failure::from(&error)) };
        let budget = match self.slow {
            Slow::Detour => budget(jobs, self.place.shard.settings().budget),
            Slow::Wait => Duration::MAX,
        };
        let applied = unless_silent(&self.place.shard, applied);
        let outcomes = match tokio::time::timeout(budget, applied).await {
            Ok(outcomes) => outcomes,
            Err(_) => Err(self.over_budget(begun.elapsed())),
        };
        if outcomes.as_ref().is_err_and(|failure| failure.is_slow) {
            // The server would go on with it, and keep its locks.
            self.place.shard.end(session).await;
        }
        let Some(target) = &mut self.target else { return outcomes.map(|_| ()) };
        let outcomes = outcomes?;
        report::group(self.place.shard.name(), self.place.number, jobs, begun.elapsed());
        let mut at_statement = Vec::new();
        let (mut failure, mut keeps_connection) = (None, true);
        for (index, outcome) in outcomes.into_iter().enumerate() {
            let job = &jobs[index];
            let device = &job.device;
            report::outcome(&self.place.directory, self.place.shard_index, job, &outcome);
            let Outcome { pass, .. } = outcome;
            let Some(barrier) = pass.barrier else { continue };
            let mut parked = None;
            if self.slow == Slow::Wait {
                let ran = async { Ok(ddl::apply(target, device, &barrier).await) };
                let ran = unless_silent(&self.place.shard, ran).await;
                match ran.map_err(Stop::Failed).and_then(|ran| ran.map_err(Stop::from)) {
                    Ok(_) => {}
                    // A connection from before a GRANT does not know of it: once more on a new one.
                    Err(Stop::Park(reason, keeps)) => {
                        keeps_connection &= keeps;
                        parked = (keeps || jobs[index].looked_again).then_some(reason);
                    }
                    Err(Stop::Failed(failed)) => failure = Some(failed),
                }
            }
            at_statement.push((index, parked));
        }
        if !keeps_connection {
            self.target = None;
            at_statement.iter().for_each(|(index, _)| jobs[*index].looked_again = true);
        }
        self.keep(jobs, at_statement, detours).await;
        failure.map_or(Ok(()), Err)
    }

    /// The connection is in the middle of something, and of no use any more.
    fn over_budget(&mut self, took: Duration) -> Failure {
        let owner = self.target.take().and_then(|target| match target.layout {
            Layout::SchemaPerDevice => target.session.busy_with(),
            // A statement carries rows of many devices.
            Layout::Merged(_) => None,
        });
        Failure::slow(owner, took)
    }

    /// Acknowledges every job but those that stopped at a statement. Those go on, here or on a detour,
    /// some of them only to be parked.
    async fn keep(
        &self,
        jobs: &mut Vec<Job>,
        at_statement: Vec<(usize, Option<Parked>)>,
        detours: &mut Vec<Job>,
    ) {
        let mut at_statement = at_statement.into_iter().peekable();
        for (index, mut job) in std::mem::take(jobs).into_iter().enumerate() {
            let Some((_, parked)) = at_statement.next_if(|(at, _)| *at == index) else {
                job.acknowledge().await;
                continue;
            };
            job.park = parked;
            match self.slow {
                Slow::Wait => jobs.push(job),
                Slow::Detour => detours.push(job),
            }
        }
    }

    async fn handle(
        &mut self,
        failure: &Failure,
        jobs: &mut Vec<Job>,
        groups: &mut VecDeque<Vec<Job>>,
        detours: &mut Vec<Job>,
    ) {
        let class = report::class(failure.class);
        ::metrics::counter!(metrics::RETRIES, "class" => class).increment(1);
        self.restore(failure).await;
        if failure.is_lock_wait && failure.owner.is_none() && !self.takes_changes().await {
            // Of the whole shard, as by FLUSH TABLES WITH READ LOCK.
            return self.failing(failure).await;
        }
        match failure.class {
            // Of a device that has all the time that there is. The shard answers others.
            Class::Reconnect if failure.is_slow && self.slow == Slow::Wait => {
                self.leave_for_later(failure, jobs).await;
            }
            // It refuses this statement, and takes those of others.
            Class::Unavailable if failure.is_refusal && self.serves_others().await => {
                self.refused(failure, jobs, groups);
            }
            Class::Conflict | Class::Full => self.conflict(failure, jobs, groups, detours).await,
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

    /// Another transaction was in the way, or there is no room. A device that this befalls even when it is
    /// alone must not hold up the others.
    async fn conflict(
        &mut self,
        failure: &Failure,
        jobs: &mut Vec<Job>,
        groups: &mut VecDeque<Vec<Job>>,
        detours: &mut Vec<Job>,
    ) {
        let conflicts = jobs.iter_mut().map(|job| {
            job.conflicts += 1;
            job.conflicts
        });
        let most = conflicts.max().unwrap_or(0);
        let is_full = failure.class == Class::Full;
        let patience = if is_full { DETOUR_FULL_MAX } else { DETOUR_CONFLICTS_MAX };
        match self.slow {
            Slow::Detour if jobs.len() == 1 => {
                if failure.is_slow {
                    jobs.iter().for_each(|job| self.place.directory.is_found_slow(&job.device));
                }
                detours.append(jobs);
            }
            // The others would wait as long once more.
            Slow::Detour
                if failure.is_lock_wait
                    || failure.is_slow
                    || is_full
                    || most > GROUP_CONFLICTS_MAX =>
            {
                match failure.owner {
                    // Where there is no room for one there may be none for any.
                    Some(owner) if !is_full && owner < jobs.len() => {
                        let job = jobs.remove(owner);
                        if failure.is_slow {
                            self.place.directory.is_found_slow(&job.device);
                        }
                        detours.push(job);
                    }
                    _ => split(jobs, groups),
                }
            }
            Slow::Wait if most > patience => {
                let shard = self.place.shard.name();
                let device = jobs.first().map(|job| job.device.as_str());
                let error = failure.error.as_str();
                if is_full {
                    tracing::error!(
                        shard,
                        device,
                        error,
                        "the shard has no room for this device's rows; they are left in the stream and tried again from time to time: make room on the disk that holds the table, or raise the limit that the error names"
                    );
                } else {
                    tracing::warn!(
                        shard,
                        device,
                        error,
                        "someone else holds this device's rows locked; its batches are left in the stream for a while"
                    );
                }
                self.leave_alone(jobs).await;
            }
            Slow::Detour | Slow::Wait => tokio::time::sleep(self.backoff.next()).await,
        }
    }

    /// The data were refused: of a group the device at fault, where that is known, is tried apart from the
    /// others, and those in halves; a device alone is looked at once more, with a fresh picture of its tables,
    /// then parked.
    fn refused(&mut self, failure: &Failure, jobs: &mut Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
        if jobs.len() > 1 {
            if let Some(owner) = failure.owner {
                groups.push_front(vec![jobs.remove(owner)]);
            }
            groups.push_front(jobs.split_off(jobs.len() / 2));
            groups.push_front(std::mem::take(jobs));
            return;
        }
        if let Some(target) = &mut self.target {
            target.catalog.clear();
        }
        for job in jobs.iter_mut() {
            if job.looked_again {
                let remedy = failure.remedy.to_owned();
                job.park = Some(Parked { reason: failure.error.clone(), remedy });
            }
            job.looked_again = true;
        }
    }

    async fn leave_for_later(&self, failure: &Failure, jobs: &mut Vec<Job>) {
        tracing::error!(
            shard = self.place.shard.name(),
            device = jobs.first().map(|job| job.device.as_str()),
            error = failure.error.as_str(),
            "the shard takes too long with this device's changes; they are left in the stream and tried again from time to time: give the table that they are of a primary key, on the device and at the shard, or look at what else the shard is doing"
        );
        self.leave_alone(jobs).await;
    }

    async fn leave_alone(&self, jobs: &mut Vec<Job>) {
        for job in jobs.drain(..) {
            job.leave_alone(&self.place.directory).await;
        }
    }

    async fn leave_behind(&self, jobs: &mut Vec<Job>) {
        for job in jobs.drain(..) {
            job.leave_behind(&self.place.directory, self.place.shard_index).await;
        }
    }
}

/// How long a lane's transaction for these may take. Then the device that it is at goes on a detour.
fn budget(jobs: &[Job], each: Duration) -> Duration {
    let mib = jobs.iter().map(Job::memory_bytes).sum::<usize>() >> 20;
    let more = u32::try_from(mib / MIB_PER_BUDGET).unwrap_or(u32::MAX);
    each.saturating_mul(more.saturating_add(1))
}

/// Each job becomes a group of its own.
fn split(jobs: &mut Vec<Job>, groups: &mut VecDeque<Vec<Job>>) {
    for job in jobs.drain(..).rev() {
        groups.push_front(vec![Job { conflicts: 0, ..job }]);
    }
}
