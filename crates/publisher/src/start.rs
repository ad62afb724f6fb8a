//! Where to begin. Pure: what the cloud says, what the checkpoint says, what the source is.

use crate::checkpoint::Checkpoint;
use tributary_wire::{Applied, Position, Resume};

/// What is known of the watermark at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Cloud {
    /// Nobody has answered.
    Silent,
    /// A worker answered that no target has ever seen this device.
    Unknown,
    /// The watermark.
    Applied(Applied),
}

/// Where capture begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first event of the first binlog file: this device is new.
    Beginning,
    /// After `position`, reading from `resume`.
    From {
        /// What has been carried.
        position: Position,
        /// Where to read.
        resume: Resume,
    },
    /// Nothing is known here and nobody answers: ask again.
    Ask,
    /// The copy was taken of another server.
    OtherServer {
        /// The server that the copy was taken of.
        known: String,
        /// What has been carried of it.
        position: Position,
        /// Where to read on, in its own log.
        resume: Resume,
    },
    /// The copy was taken of this server, and then of another.
    Displaced {
        /// The other.
        by: String,
    },
}

/// Decides. After a rewind only the watermark counts: what lies between it and the checkpoint is what
/// the stream has lost.
pub fn decide(
    cloud: Cloud,
    checkpoint: Option<Checkpoint>,
    source: &str,
    after_rewind: bool,
) -> Start {
    let applied = match cloud {
        Cloud::Unknown => return Start::Beginning,
        Cloud::Silent => None,
        // A device that was parked at first contact has a watermark, and no server yet.
        Cloud::Applied(applied) if !applied.source.is_empty() && applied.source != source => {
            return other_server(applied, checkpoint, source, after_rewind);
        }
        Cloud::Applied(applied) => Some((applied.position, applied.resume)),
    };
    // A checkpoint of another server is of no use; the watermark decides.
    let local = checkpoint
        .filter(|checkpoint| checkpoint.source == source && !(after_rewind && applied.is_some()))
        .map(|checkpoint| (checkpoint.position, checkpoint.resume));
    let furthest = applied.into_iter().chain(local).max_by_key(|(position, _)| *position);
    furthest.map_or(Start::Ask, |(position, resume)| Start::From { position, resume })
}

/// The target follows another server. This one may have taken its place already, which the target has
/// still to learn; or the other has taken this one's.
fn other_server(
    applied: Applied,
    checkpoint: Option<Checkpoint>,
    source: &str,
    after_rewind: bool,
) -> Start {
    let Applied { position, resume, source: known, .. } = applied;
    match checkpoint.filter(|checkpoint| checkpoint.source == source) {
        Some(ours) if ours.position.epoch < position.epoch => Start::Displaced { by: known },
        Some(ours) if ours.position.epoch > position.epoch && !after_rewind => {
            Start::From { position: ours.position, resume: ours.resume }
        }
        _ => Start::OtherServer { known, position, resume },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Remembered;

    fn at(offset: u64) -> (Position, Resume) {
        let position = Position::boundary(1, 1, offset);
        (position, Resume { position, gtid: None, ..Resume::default() })
    }

    fn cloud(offset: u64) -> Cloud {
        let (position, resume) = at(offset);
        Cloud::Applied(Applied { position, resume, source: "s".into(), lag_us: 0 })
    }

    fn checkpoint(offset: u64) -> Option<Checkpoint> {
        let (position, resume) = at(offset);
        Some(Checkpoint {
            device: "d".parse().expect("valid"),
            source: "s".into(),
            position,
            resume,
            filter: Remembered::default(),
        })
    }

    fn from(offset: u64) -> Start {
        let (position, resume) = at(offset);
        Start::From { position, resume }
    }

    #[test]
    fn the_further_of_watermark_and_checkpoint_wins() {
        assert_eq!(decide(cloud(10), checkpoint(20), "s", false), from(20));
        assert_eq!(decide(cloud(30), checkpoint(20), "s", false), from(30));
        assert_eq!(decide(cloud(30), None, "s", false), from(30));
    }

    #[test]
    fn a_silent_cloud_leaves_the_checkpoint_and_without_one_the_question_stays_open() {
        assert_eq!(decide(Cloud::Silent, checkpoint(20), "s", false), from(20));
        assert_eq!(decide(Cloud::Silent, None, "s", false), Start::Ask);
    }

    #[test]
    fn after_a_rewind_only_the_watermark_counts() {
        assert_eq!(decide(cloud(10), checkpoint(20), "s", true), from(10));
    }

    #[test]
    fn a_device_that_no_target_knows_begins_at_the_beginning_whatever_the_checkpoint_says() {
        assert_eq!(decide(Cloud::Unknown, checkpoint(20), "s", false), Start::Beginning);
    }

    #[test]
    fn a_watermark_that_no_server_set_yet_is_followed() {
        let Cloud::Applied(applied) = cloud(10) else { panic!("a watermark") };
        let parked_at_once = Cloud::Applied(Applied { source: String::new(), ..applied });
        assert_eq!(decide(parked_at_once, None, "s", false), from(10));
    }

    #[test]
    fn a_server_that_took_another_s_place_goes_on_and_the_other_stops() {
        let ours = |epoch| {
            let position = Position::boundary(epoch, 1, 50);
            let resume = Resume { position, ..Resume::default() };
            let checkpoint = checkpoint(0).expect("one");
            Checkpoint { source: "t".into(), position, resume, ..checkpoint }
        };
        let Checkpoint { position, resume, .. } = ours(2);
        assert_eq!(decide(cloud(10), Some(ours(2)), "t", false), Start::From { position, resume });
        let displaced = Start::Displaced { by: "s".into() };
        assert_eq!(decide(cloud(10), Some(ours(0)), "t", false), displaced);
        assert!(matches!(decide(cloud(10), Some(ours(2)), "t", true), Start::OtherServer { .. }));
    }

    #[test]
    fn positions_of_another_server_are_never_used() {
        let (position, resume) = at(10);
        let other = Start::OtherServer { known: "s".into(), position, resume };
        assert_eq!(decide(cloud(10), None, "t", false), other);
        assert_eq!(decide(Cloud::Silent, checkpoint(20), "t", false), Start::Ask);
    }
}
