//! Finding the place to begin, and proving that the source's log still has it.

use crate::error::Error;
use crate::link::Answer;
use crate::session::{self, Agent, Origin};
use crate::source::{Facts, Flavour, Source};
use crate::start::{self, Cloud, Start};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tributary_wire::{Position, Resume};

/// With a checkpoint at hand the cloud is asked only for so long.
const PATIENCE: Duration = Duration::from_secs(3);
const QUESTION_INTERVAL: Duration = Duration::from_secs(1);
const EPOCH_FIRST: u32 = 1;
/// The first event of every binlog file stands behind four bytes of magic.
const FILE_BEGIN: u64 = 4;

/// Asks the cloud, looks at the checkpoint, decides, and checks the decision against the log. Waits
/// for ever when nothing is known and nobody answers.
pub(crate) async fn find(
    agent: &mut Agent,
    source: &mut Source,
    facts: &Facts,
) -> Result<Origin, Error> {
    let mut said = false;
    loop {
        let cloud = ask(agent, facts).await;
        let checkpoint = agent.checkpoint.clone();
        match start::decide(cloud, checkpoint, &facts.identity, agent.after_rewind) {
            Start::Beginning => return beginning(source, facts).await,
            Start::From { position, .. } if position.file == 0 => {
                return beginning(source, facts).await;
            }
            Start::From { position, resume } => {
                return resumed(source, facts, position, resume).await;
            }
            Start::OtherServer { known } => {
                return Err(Error::OutOfReach {
                    reason: format!(
                        "the copy of this device was taken of server {known}, and this is server {}",
                        facts.identity
                    ),
                });
            }
            Start::Ask if said => {}
            Start::Ask => {
                said = true;
                let state = "no checkpoint here, and no sync-worker answers".to_owned();
                tracing::warn!(device = %agent.device, "{state}; asking until one does");
                agent.readiness.set_ready("cloud", Err(state));
            }
        }
    }
}

/// One round of questions. Ends with the first answer, or when patience does.
async fn ask(agent: &mut Agent, facts: &Facts) -> Cloud {
    let give_up_at = Instant::now() + PATIENCE;
    let request = session::question(&agent.device, agent.run, &facts.identity);
    while Instant::now() < give_up_at {
        agent.link.heartbeat(&request).await;
        let again_at = Instant::now() + QUESTION_INTERVAL;
        // Acknowledgements of an attempt that is over, and silence, are no answers.
        while let Ok(answer) = timeout_at(again_at, agent.link.answer()).await {
            if let Answer::Heartbeat(reply) = answer {
                agent.readiness.set_ready("cloud", Ok(()));
                return session::cloud(reply);
            }
        }
    }
    Cloud::Silent
}

/// A device that no target knows: its whole history must still be in the log.
async fn beginning(source: &mut Source, facts: &Facts) -> Result<Origin, Error> {
    let files = source.binlog_files().await?;
    let out_of_reach = |reason: String| Err(Error::OutOfReach { reason });
    let Some(first) = files.first() else {
        return out_of_reach("the source has no binary log".to_owned());
    };
    if first.number != 1 {
        return out_of_reach(format!(
            "this device is new to the cloud, but its binary log begins with {}: what came before is purged",
            first.name
        ));
    }
    let purged = facts.variable("gtid_purged");
    if facts.flavour == Flavour::MySql && !purged.trim().is_empty() {
        return out_of_reach(format!(
            "this device is new to the cloud, but transactions {purged} are no longer in its binary log"
        ));
    }
    let position = Position::boundary(EPOCH_FIRST, first.number, FILE_BEGIN);
    Ok(Origin {
        position: Position::beginning(EPOCH_FIRST),
        resume: Resume { position, gtid: None },
        source: facts.identity.clone(),
        file: first.name.clone(),
        beginning: true,
    })
}

/// A table that is older than the log was filled before it, and the log cannot tell with what.
pub(crate) async fn refuse_older_tables(
    source: &mut Source,
    log_began_s: u32,
) -> Result<(), Error> {
    let older = source.tables_older_than(log_began_s).await?;
    if older.is_empty() {
        return Ok(());
    }
    Err(Error::OutOfReach {
        reason: format!(
            "this device is new to the cloud, but tables are older than its binary log ({})",
            older.join(", ")
        ),
    })
}

/// A device that is known: the log must still hold the place where its copy ends.
async fn resumed(
    source: &mut Source,
    facts: &Facts,
    position: Position,
    resume: Resume,
) -> Result<Origin, Error> {
    let files = source.binlog_files().await?;
    let at = resume.position;
    let out_of_reach = |reason: String| Err(Error::OutOfReach { reason });
    let Some(file) = files.iter().find(|file| file.number == at.file) else {
        let oldest = files.first().map_or("nothing", |file| file.name.as_str());
        return out_of_reach(format!(
            "the copy ends at {position}, and the binary log now begins with {oldest}: it was purged or reset while the publisher was away"
        ));
    };
    if at.offset > file.bytes {
        return out_of_reach(format!(
            "the copy ends at {position}, but {} has only {} bytes: the log was reset, or the device restored from an older image",
            file.name, file.bytes
        ));
    }
    if !source.contains(facts, &resume).await? {
        return out_of_reach(format!(
            "the copy ends after transaction {}, which the server no longer knows: its log was reset, or the device restored from an older image",
            resume.gtid.as_deref().unwrap_or_default()
        ));
    }
    let source = facts.identity.clone();
    Ok(Origin { position, file: file.name.clone(), resume, source, beginning: false })
}
