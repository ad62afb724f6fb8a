//! A replica's sign of life, and whether another process gives it under the same name.

use crate::lease::LeaseError;
use crate::member::{self, Member};
use crate::metrics;
use crate::provision::Provisioned;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub(crate) struct Membership {
    worker: String,
    ttl: Duration,
    this: Member,
    revision: u64,
    refreshed: Instant,
    /// The name may still be another process's before then.
    certain_at: Option<Instant>,
    /// When each worker was last seen to live. An entry that someone else has overwritten takes no life.
    seen: HashMap<String, Instant>,
}

/// Another process lives under this worker's name, and was there first.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "another worker is called {worker:?} as well ({place}), and was there first: give each worker a worker.id of its own, or leave worker.id out"
)]
pub struct NameTaken {
    /// The name.
    pub worker: String,
    /// Where the other runs.
    pub place: String,
}

/// Why a replica cannot say that it lives.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    /// The bucket did not do what was asked.
    #[error(transparent)]
    Bucket(#[from] LeaseError),
    /// For good.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
}

// === impl Membership ===

impl Membership {
    /// Of a replica that has not said anything yet.
    pub(crate) fn new(worker: String, ttl: Duration) -> Self {
        let (this, refreshed) = (Member::this(), Instant::now());
        let (certain_at, seen) = (None, HashMap::new());
        Self { worker, ttl, this, revision: 0, refreshed, certain_at, seen }
    }

    /// Says that the replica lives, and returns all that do; nobody while it is not certain that the name is
    /// this process's alone.
    pub(crate) async fn refresh(
        &mut self,
        made: &Provisioned,
    ) -> Result<Option<Vec<String>>, MembershipError> {
        self.say(made).await?;
        let now = Instant::now();
        for (name, member) in member::all(&made.workers).await? {
            if member.is_some() {
                self.seen.insert(name, now);
            } else if !self.seen.contains_key(&name) {
                tracing::debug!(name, "no worker has written this sign of life");
            }
        }
        self.seen.insert(self.worker.clone(), now);
        self.forget_the_dead(made, now).await?;
        let is_certain = self.certain_at.is_none_or(|at| at <= now);
        Ok(is_certain.then(|| self.seen.keys().cloned().collect()))
    }

    /// Who is not in the bucket any more is dead; who is, but unreadable, when it was not seen for a lease's life.
    async fn forget_the_dead(
        &mut self,
        made: &Provisioned,
        now: Instant,
    ) -> Result<(), LeaseError> {
        let unseen: Vec<String> =
            self.seen.iter().filter(|(_, at)| **at < now).map(|(name, _)| name.clone()).collect();
        for name in unseen {
            let standing = member::read(&made.workers, &name).await?;
            let is_overwritten = standing.member.is_none() && standing.is_there;
            let is_fresh = self.seen.get(&name).is_some_and(|at| at.elapsed() < self.ttl);
            if !(is_overwritten && is_fresh) {
                self.seen.remove(&name);
            }
        }
        Ok(())
    }

    /// Writes the sign of life. Whoever has written another one meanwhile lives too.
    async fn say(&mut self, made: &Provisioned) -> Result<(), MembershipError> {
        if self.put(made, self.revision).await? {
            return Ok(());
        }
        let found = member::read(&made.workers, &self.worker).await?;
        if let Some(other) = found.member.filter(|other| other.instance != self.this.instance) {
            self.meet(&other)?;
        }
        // If that fails too, the next turn makes up for it.
        self.put(made, found.revision).await?;
        Ok(())
    }

    async fn put(&mut self, made: &Provisioned, revision: u64) -> Result<bool, LeaseError> {
        let put = member::refresh(&made.workers, &self.worker, &self.this, revision).await?;
        let Some(revision) = put else { return Ok(false) };
        (self.revision, self.refreshed) = (revision, Instant::now());
        Ok(true)
    }

    /// Another process has written under this name. Before this one ever did, that may be its predecessor,
    /// which is dead: a live one will be heard of again.
    fn meet(&mut self, other: &Member) -> Result<(), NameTaken> {
        let is_first = self.revision == 0;
        if is_first {
            if !other.is_gone(&self.this) {
                self.certain_at = Some(Instant::now() + self.ttl * 2 / 3);
            }
            return Ok(());
        }
        ::metrics::counter!(metrics::NAMESAKES).increment(1);
        if self.this.came_after(other) {
            return Err(NameTaken { worker: self.worker.clone(), place: other.place() });
        }
        let place = other.place();
        if self
            .this
            .met
            .as_ref()
            .is_none_or(|met| !met.starts_with(&format!("host {},", other.host)))
        {
            tracing::warn!(
                worker = self.worker,
                other = place,
                this = self.this.place(),
                "two workers have the same worker.id: the other one, which came later, has to stop; give each a worker.id of its own, or leave worker.id out"
            );
        }
        self.this.met = Some(place);
        Ok(())
    }

    /// Says that the replica lives, again and again.
    pub(crate) async fn keep_up(&mut self, made: &Provisioned) -> Infallible {
        loop {
            tokio::time::sleep(self.ttl / 3).await;
            // One that fails is made up for by the next, or by the next turn.
            let _ = self.put(made, self.revision).await;
        }
    }

    /// True when the others take this replica for dead.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.refreshed.elapsed() >= self.ttl
    }

    /// Says that the replica has stopped.
    pub(crate) async fn end(&mut self, made: &Provisioned) {
        // If it fails, the entry ages.
        let _ = member::resign(&made.workers, &self.worker, self.revision).await;
    }
}
