//! What this replica knows of the devices whose partitions it owns. All of it can be lost: it is
//! learnt again from the shards and from heartbeats.

use crate::left::Left;
use crate::pass::Gap;
use crate::replay::Replays;
use crate::route::Routing;
use crate::shard::Shard;
use crate::watermark::{Parked, Watermark};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tributary_wire::{DeviceId, Position, Retention};

/// Where a device belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// To this shard; `held` when it has the device's row already.
    At {
        /// Index of the shard.
        shard: usize,
        /// The shard has a watermark of it.
        held: bool,
    },
    /// Not known: no shard that answers holds it, and one does not answer. Assigning it now could
    /// give it a second home.
    Undecided {
        /// The shard that does not answer, or [`Directory::nowhere`].
        shard: usize,
        /// What it said.
        reason: String,
    },
    /// Two shards hold it.
    Conflict {
        /// Why nothing of it is applied.
        parked: Parked,
    },
}

/// What is known of a device.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    /// Its shard, and whether that has its row.
    pub shard: Option<(usize, bool)>,
    /// Two shards hold it, as was seen at this time.
    conflict: Option<(Instant, Parked)>,
    /// Its row, as this replica last saw or wrote it.
    pub watermark: Option<Watermark>,
    /// When the row was read from the shard for a heartbeat.
    pub read_at: Option<Instant>,
    /// The run before the one that was applied last.
    pub former_run: Option<u64>,
    /// A gap that has to be closed by a rewind.
    pub gap: Option<Gap>,
    /// What was left in the stream because of this device alone.
    pub left: Left,
    /// It has held up its lane: until then it goes beside it from the start.
    slow_until: Option<Instant>,
    /// Source commit to target commit of the newest batch applied here, in microseconds.
    pub lag_us: u64,
    /// The published position of its newest heartbeat.
    pub published: Option<Position>,
    /// How long its source still keeps what is not known to be applied, as its newest heartbeat says.
    pub retention: Option<Retention>,
    /// What is suspected to be lost at the end of the stream: see [`crate::heartbeat`].
    pub suspicion: Option<crate::rewind::Suspicion>,
}

/// See the module.
#[derive(Debug)]
pub struct Directory {
    /// The shards, in the order of the configuration.
    pub shards: Vec<Arc<Shard>>,
    /// What was left in the stream.
    pub replays: Replays,
    routing: Routing,
    /// What this replica's list of shards lacks, for people; `None` when it is complete.
    roster_complaint: Mutex<Option<String>>,
    devices: Mutex<HashMap<DeviceId, Knowledge>>,
}

/// For how long a device goes beside its lane that has held it up.
const SLOW: Duration = Duration::from_secs(60);
/// A conflict that an operator has cleared is noticed after this.
const CONFLICT_AGE_MAX: Duration = Duration::from_secs(30);

// === impl Directory ===

impl Directory {
    /// Knows no device yet.
    pub fn new(shards: Vec<Arc<Shard>>, routing: Routing, partitions: u32) -> Self {
        let (roster_complaint, devices) = Default::default();
        let lanes = shards.iter().map(|shard| shard.settings().lanes).collect();
        let replays = Replays::new(partitions, lanes);
        Self { shards, replays, routing, roster_complaint, devices }
    }

    /// Where the device belongs. Asks the shards the first time.
    pub async fn locate(&self, device: &DeviceId) -> Placement {
        if let Some(known) = self.known_placement(device) {
            return known;
        }
        let answers =
            futures_util::future::join_all(self.shards.iter().map(|shard| shard.watermark(device)))
                .await;
        let mut holders = Vec::new();
        let mut unreachable = None;
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(Some(watermark)) => holders.push((index, watermark)),
                Ok(None) => {}
                Err(error) => unreachable = Some((index, error.to_string())),
            }
        }
        self.place(device, holders, unreachable)
    }

    /// Where the device belongs, if that is known; `None` when the shards have to be asked.
    pub fn known_placement(&self, device: &DeviceId) -> Option<Placement> {
        let devices = self.lock();
        let known = devices.get(device)?;
        let conflict = known.conflict.as_ref().filter(|(at, _)| at.elapsed() < CONFLICT_AGE_MAX);
        match (conflict, known.shard) {
            (Some((_, parked)), _) => Some(Placement::Conflict { parked: parked.clone() }),
            (None, Some((shard, held))) => Some(Placement::At { shard, held }),
            (None, None) => None,
        }
    }

    fn place(
        &self,
        device: &DeviceId,
        mut holders: Vec<(usize, Watermark)>,
        unreachable: Option<(usize, String)>,
    ) -> Placement {
        if holders.len() > 1 {
            let names = holders.iter().map(|(shard, _)| self.shards[*shard].name());
            let parked = two_homes(&names.collect::<Vec<_>>());
            tracing::error!(%device, reason = parked.reason, remedy = parked.remedy, "a device has two homes");
            let conflict = Some((Instant::now(), parked.clone()));
            self.update(device, |known| {
                known.conflict = conflict;
                known.shard = None;
            });
            return Placement::Conflict { parked };
        }
        if let Some((shard, watermark)) = holders.pop() {
            self.update(device, |known| {
                known.shard = Some((shard, true));
                known.conflict = None;
                known.watermark = Some(watermark);
            });
            return Placement::At { shard, held: true };
        }
        if let Some((shard, reason)) = unreachable {
            return Placement::Undecided { shard, reason };
        }
        if let Some(reason) = self.roster_complaint() {
            return Placement::Undecided { shard: self.nowhere(), reason };
        }
        let name = self.routing.shard_for(device);
        let Some(shard) = self.shards.iter().position(|shard| Some(shard.name()) == name) else {
            // Rules name only shards that are configured.
            let reason = "no shard is configured".to_owned();
            return Placement::Undecided { shard: self.nowhere(), reason };
        };
        tracing::info!(%device, shard = self.shards[shard].name(), "a new device is assigned");
        self.update(device, |known| {
            known.shard = Some((shard, false));
            known.conflict = None;
        });
        Placement::At { shard, held: false }
    }

    /// Stands for the shard of devices that cannot be placed while the list of shards is not complete: what is left of
    /// them is read again once, when it is.
    pub(crate) fn nowhere(&self) -> usize {
        self.shards.len()
    }

    /// What this replica's list of shards lacks.
    pub(crate) fn roster_complaint(&self) -> Option<String> {
        self.roster_complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what this replica's list of shards lacks. Told when it changes.
    pub(crate) fn set_roster_complaint(&self, complaint: Option<String>) {
        let mut known = self.roster_complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != complaint {
            match &complaint {
                Some(reason) => tracing::error!(reason, "the list of shards is not complete"),
                None => tracing::info!("the list of shards is complete"),
            }
            *known = complaint;
        }
    }

    /// A copy of what is known.
    pub fn knowledge(&self, device: &DeviceId) -> Option<Knowledge> {
        self.lock().get(device).cloned()
    }

    /// Changes what is known, if anything is.
    pub(crate) fn update_known(&self, device: &DeviceId, change: impl FnOnce(&mut Knowledge)) {
        self.lock().get_mut(device).map(change);
    }

    /// Changes what is known.
    pub fn update<R>(&self, device: &DeviceId, change: impl FnOnce(&mut Knowledge) -> R) -> R {
        let mut devices = self.lock();
        match devices.get_mut(device) {
            Some(known) => change(known),
            None => change(devices.entry(device.clone()).or_default()),
        }
    }

    /// The device has held up its lane.
    pub(crate) fn is_found_slow(&self, device: &DeviceId) {
        self.update(device, |known| known.slow_until = Some(Instant::now() + SLOW));
    }

    /// True for a while after the device has held up its lane.
    pub(crate) fn is_slow(&self, device: &DeviceId) -> bool {
        let until = self.lock().get(device).and_then(|known| known.slow_until);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Something of the device is missing between its watermark and what was published.
    pub fn missed(&self, device: &DeviceId, gap: Gap) {
        self.update(device, |known| known.gap = Some(gap));
    }

    /// Drops what is known of a device that is not where it was: it is looked for again.
    pub fn forget(&self, device: &DeviceId) {
        if let Some(mut known) = self.lock().remove(device) {
            known.left.cancel();
        }
    }

    /// Drops the devices for which `gone` holds.
    pub fn forget_where(&self, gone: impl Fn(&DeviceId) -> bool) {
        self.lock().retain(|device, known| {
            let is_gone = gone(device);
            if is_gone {
                known.left.cancel();
            }
            !is_gone
        });
    }

    /// The partition is read again: what was found missing in it may come now.
    pub fn reopen(&self, is_in: impl Fn(&DeviceId) -> bool) {
        for (_, known) in self.lock().iter_mut().filter(|(device, _)| is_in(device)) {
            known.gap = None;
            known.suspicion = None;
        }
    }

    /// Looks at every device.
    pub fn for_each(&self, mut look: impl FnMut(&DeviceId, &Knowledge)) {
        for (device, known) in self.lock().iter() {
            look(device, known);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Knowledge>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn two_homes(shards: &[&str]) -> Parked {
    Parked {
        reason: format!("two shards hold this device: {}", shards.join(" and ")),
        remedy: "find out which of them is current (the higher position in its table watermark), drop the device's databases and its watermark row at the other".to_owned(),
    }
}
