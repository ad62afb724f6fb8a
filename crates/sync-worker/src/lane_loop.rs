//! The loop of a lane: take what waits, apply it in one transaction, acknowledge.

use crate::detour::Detours;
use crate::executor::{Executor, Slow};
use crate::job::{Job, by_device};
use crate::lane::{Delivery, Lane};

/// Something for a lane to do.
enum Event {
    /// Messages have come.
    Group(Vec<Delivery>),
    /// A device is back from its detour, and these came for it in the last moment.
    Back(Vec<Job>),
    /// Nothing will come any more.
    End,
}

// === impl Lane ===

impl Lane {
    /// Runs until it is told to finish and everything that came in is dealt with.
    pub async fn run(mut self) {
        let mut executor = Executor::new(self.place.clone(), Slow::Detour, None);
        let mut detours = Detours::new(self.place.clone());
        loop {
            let jobs = match self.next(&mut executor, &mut detours).await {
                Event::Group(group) => detours.forward(by_device(group)).await,
                Event::Back(jobs) => jobs,
                Event::End if detours.is_empty() => break,
                Event::End => detours.ended().await,
            };
            let directory = &self.place.directory;
            let is_slow = |job: &Job| job.is_heavy() || directory.is_slow(&job.device);
            let (heavy, jobs) = jobs.into_iter().partition(is_slow);
            detours.begin(heavy).await;
            let slow = executor.process(jobs).await;
            detours.begin(slow).await;
        }
        if let Some(target) = executor.into_target() {
            target.session.close().await;
        }
        detours.close().await;
    }

    async fn next(&mut self, executor: &mut Executor, detours: &mut Detours) -> Event {
        if executor.is_down() && !self.survive(executor).await {
            return Event::End;
        }
        tokio::select! {
            back = detours.ended() => Event::Back(back),
            group = self.take() => group.map_or(Event::End, Event::Group),
        }
    }

    /// While the shard is down: leaves what comes, holds nobody up, and looks whether it is back.
    /// False when nothing will come any more.
    async fn survive(&mut self, executor: &mut Executor) -> bool {
        while executor.is_down() {
            let attempt = tokio::time::sleep(executor.patience());
            tokio::pin!(attempt);
            loop {
                tokio::select! {
                    () = &mut attempt => break,
                    delivery = self.receive() => match delivery {
                        Some(delivery) => {
                            delivery
                                .leave_behind(&self.place.directory, self.place.shard_index)
                                .await;
                        }
                        None => return false,
                    },
                }
            }
            executor.look().await;
        }
        true
    }
}
