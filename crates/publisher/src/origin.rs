//! Finding the place to begin, and proving that the source's log still has it.

use crate::anchor;
use crate::config::WhenLost;
use crate::error::Error;
use crate::history;
use crate::link::Answer;
use crate::session::{self, Agent};
use crate::snapshot::{Catalog, without_gtids};
use crate::source::{BinlogFile, Facts, Flavour, Source};
use crate::start::{self, Cloud, Start};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tributary_binlog::Gtids;
use tributary_wire::{Position, Resume, SnapshotCursor};

/// Where an attempt begins.
pub(crate) struct Origin {
    /// What has been carried.
    pub(crate) position: Position,
    /// Where to go on.
    pub(crate) resume: Resume,
    /// The name of the binlog file at `resume`.
    pub(crate) file: String,
    /// Where in it to read, which may lie before `resume`: up to there the log is read for its GTIDs.
    pub(crate) read_from: u64,
    /// The GTIDs before `read_from`.
    pub(crate) gtids: Option<Gtids>,
    /// The log is another server's, and holds these transactions, which are carried already.
    pub(crate) elsewhere: Option<Gtids>,
    /// This is the beginning of the device's history.
    pub(crate) beginning: bool,
    /// Everything is carried anew: from the beginning, or by a snapshot that begins.
    pub(crate) anew: bool,
}

/// With a checkpoint at hand the cloud is asked only for so long.
const PATIENCE: Duration = Duration::from_secs(3);
const QUESTION_INTERVAL: Duration = Duration::from_secs(1);
const EPOCH_FIRST: u32 = 1;
/// The first event of every binlog file stands behind four bytes of magic.
const FILE_BEGIN: u64 = 4;
/// A complete log that is longer costs more to read than the tables that it made.
const HISTORY_BYTES_MAX: u64 = 256 << 20;

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
        let start = start::decide(cloud, checkpoint, &facts.identity, agent.after_rewind);
        agent.is_new = match &start {
            Start::Beginning => true,
            Start::From { position, .. } => position.file == 0,
            _ => false,
        };
        match start {
            Start::Beginning => return new(agent, source, facts, Position::beginning(1)).await,
            Start::From { position, .. } if position.file == 0 => {
                return new(agent, source, facts, position).await;
            }
            Start::From { position, resume } => {
                let found = if agent.take_snapshot {
                    Err(Error::OutOfReach { reason: "a snapshot is due".to_owned() })
                } else {
                    resumed(agent, source, facts, position, resume).await
                };
                return or_snapshot(found, agent, source, facts, position).await;
            }
            Start::OtherServer { known, position, resume } => {
                let found = elsewhere(agent, source, facts, &known, position, resume).await;
                return or_snapshot(found, agent, source, facts, position).await;
            }
            Start::Displaced { by } => return Err(Error::Displaced { other: by }),
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
            match answer {
                Answer::Heartbeat(reply) => {
                    agent.readiness.set_ready("cloud", Ok(()));
                    return session::cloud(reply);
                }
                // What was asked before that has not been sent.
                Answer::Connected => break,
                _ => {}
            }
        }
    }
    Cloud::Silent
}

/// What the log has lost only a snapshot brings back, if that is what the operator wants.
async fn or_snapshot(
    found: Result<Origin, Error>,
    agent: &Agent,
    source: &mut Source,
    facts: &Facts,
    copied: Position,
) -> Result<Origin, Error> {
    match found {
        Err(error)
            if error.needs_snapshot()
                && agent.config.snapshot.when_lost == WhenLost::Resnapshot =>
        {
            if !agent.take_snapshot {
                tracing::warn!(device = %agent.device, %error, "every table is copied again; the old copy stays until it is replaced");
            }
            snapshot(agent, source, facts, copied, copied.epoch + 1).await
        }
        found => found,
    }
}

/// A device that no target knows. A short log that reaches back to its first day tells everything; the
/// tables tell it faster than a long one.
async fn new(
    agent: &Agent,
    source: &mut Source,
    facts: &Facts,
    known: Position,
) -> Result<Origin, Error> {
    let files = source.binlog_files().await?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let history = history(facts, &files);
    let short = bytes <= HISTORY_BYTES_MAX || !facts.has_gtids();
    let history = match history {
        Ok(origin) if short && !agent.take_snapshot => {
            let mut catalog = Catalog::connect(&agent.config.source, facts).await?;
            let reader = anchors(agent, facts);
            match history::unlogged(source, &mut catalog, &reader).await?.as_slice() {
                [] => return Ok(origin),
                unlogged => Err(format!(
                    "this device is new to the cloud, but its binary log never made some of its tables ({}): they were made with sql_log_bin=0, or put there as files",
                    unlogged.join(", ")
                )),
            }
        }
        history => history,
    };
    match history {
        Err(reason) if !facts.has_gtids() => Err(Error::OutOfReach { reason }),
        history => {
            if let Err(reason) = history {
                tracing::info!(device = %agent.device, reason, "every table is copied");
            }
            let epoch = known.epoch.max(EPOCH_FIRST);
            snapshot(agent, source, facts, known, epoch).await
        }
    }
}

/// The whole history, if the log still has it.
fn history(facts: &Facts, files: &[BinlogFile]) -> Result<Origin, String> {
    let Some(first) = files.first() else {
        return Err("the source has no binary log".to_owned());
    };
    if first.number != 1 {
        return Err(format!(
            "this device is new to the cloud, but its binary log begins with {}: what came before is purged",
            first.name
        ));
    }
    let purged = facts.variable("gtid_purged");
    if facts.flavour == Flavour::MySql && !purged.trim().is_empty() {
        return Err(format!(
            "this device is new to the cloud, but transactions {purged} are no longer in its binary log"
        ));
    }
    let position = Position::boundary(EPOCH_FIRST, first.number, FILE_BEGIN);
    Ok(Origin {
        position: Position::beginning(EPOCH_FIRST),
        resume: Resume { position, ..Resume::default() },
        file: first.name.clone(),
        read_from: FILE_BEGIN,
        gtids: facts.has_gtids().then(|| facts.no_gtids()),
        elsewhere: None,
        beginning: true,
        anew: true,
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

/// Begins to copy every table, at the end of the log as it is now.
async fn snapshot(
    agent: &Agent,
    source: &mut Source,
    facts: &Facts,
    copied: Position,
    epoch: u32,
) -> Result<Origin, Error> {
    if !facts.has_gtids() {
        return Err(without_gtids());
    }
    let mut catalog = Catalog::connect(&agent.config.source, facts).await?;
    let (number, offset) = catalog.log_end().await?;
    let files = source.binlog_files().await?;
    let Some(file) = files.into_iter().find(|file| file.number == number) else {
        return Err(Error::SnapshotDelayed { reason: "the log was just rotated".to_owned() });
    };
    let position = Position::boundary(epoch, number, offset);
    let cursor = SnapshotCursor { complete: true, ..SnapshotCursor::default() };
    let anchor = anchors(agent, facts).head(&file).await?;
    let resume = Resume { position, gtid: None, snapshot: Some(cursor), anchor };
    let origin = counted(&mut catalog, facts, copied, resume, file.name).await?;
    // What a crash took from the log, or was never in it, is in the tables, and so in the copy.
    let gtids = match origin.gtids {
        Some(gtids) => Some(catalog.with_purged(gtids).await?),
        None => None,
    };
    Ok(Origin { anew: true, gtids, ..origin })
}

/// A device that is known: the log must still hold the place where its copy ends.
async fn resumed(
    agent: &Agent,
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
    // Before a transaction that is prepared and not decided, reading begins ahead of the copy's end.
    let ends = if position.epoch == at.epoch { position } else { at };
    for end in [at, ends] {
        let bytes = files.iter().find(|file| file.number == end.file).map_or(0, |file| file.bytes);
        if end.offset > bytes {
            return out_of_reach(format!(
                "the copy ends at {position}, but binary log file {} has only {bytes} bytes: the log was reset or cut off, or the device restored from an older image",
                end.file
            ));
        }
    }
    if !source.contains(facts, &resume).await? {
        return out_of_reach(format!(
            "the copy ends after transactions {}, which the server no longer knows, or others are missing from its log: the log was reset or lost its end in a crash, or the device was restored from an older image",
            resume.gtid.as_deref().unwrap_or_default()
        ));
    }
    if let Some(anchor) = &resume.anchor
        && !anchors(agent, facts).holds(&files, anchor).await?
    {
        return out_of_reach(format!(
            "the copy ends at {position}, and the log does not hold the transaction that the copy has before it: the device was restored from an older image, or cloned, or its log was reset"
        ));
    }
    let name = file.name.clone();
    if resume.gtid.is_some() || !facts.has_gtids() {
        let (gtid, read_from) = (resume.gtid.clone(), resume.position.offset);
        return at_place(facts, position, resume, name, read_from, gtid);
    }
    let mut catalog = Catalog::connect(&agent.config.source, facts).await?;
    let origin = counted(&mut catalog, facts, position, resume, name).await?;
    if let (Flavour::MySql, Some(before)) = (facts.flavour, &origin.gtids)
        && let Some(lacking) = catalog.lacks(before).await?
    {
        return out_of_reach(format!("the copy ends at {position}, and {lacking}"));
    }
    Ok(origin)
}

/// An origin whose GTIDs are not known: they are counted from the beginning of the file, or asked of the
/// server.
async fn counted(
    catalog: &mut Catalog,
    facts: &Facts,
    position: Position,
    resume: Resume,
    file: String,
) -> Result<Origin, Error> {
    let at = resume.position.offset;
    let gtids = catalog.gtids_before(&file, at).await?;
    // MariaDB says what lies before any place, MySQL what lies before a file.
    let read_from = if facts.flavour == Flavour::MariaDb { at } else { FILE_BEGIN };
    at_place(facts, position, resume, file, read_from, gtids)
}

/// Looks anchors up in the source's log.
fn anchors<'a>(agent: &'a Agent, facts: &'a Facts) -> anchor::Reader<'a> {
    let config = &agent.config;
    anchor::Reader {
        config: &config.source,
        device: &agent.device,
        facts,
        spool_dir: &config.state.dir,
    }
}

/// An origin in the log that the copy was taken of.
fn at_place(
    facts: &Facts,
    position: Position,
    resume: Resume,
    file: String,
    read_from: u64,
    gtids: Option<String>,
) -> Result<Origin, Error> {
    let mariadb = facts.flavour == Flavour::MariaDb;
    let gtids = gtids.map(|text| Gtids::parse(&text, mariadb)).transpose();
    let gtids = gtids.map_err(|error| Error::OutOfReach { reason: error.to_string() })?;
    let (elsewhere, beginning, anew) = (None, false, false);
    Ok(Origin { position, resume, file, read_from, gtids, elsewhere, beginning, anew })
}

/// Another server than the one that the copy was taken of: a replica that took its place holds the same
/// transactions, under the same GTIDs, and goes on from there.
async fn elsewhere(
    agent: &Agent,
    source: &mut Source,
    facts: &Facts,
    known: &str,
    position: Position,
    resume: Resume,
) -> Result<Origin, Error> {
    let no = |why: &str| {
        Err(Error::OutOfReach {
            reason: format!(
                "the copy of this device was taken of server {known}, and this is server {}, which does not continue it: {why}",
                facts.identity
            ),
        })
    };
    let Some(text) = resume.gtid.clone() else { return no("the copy has no GTIDs") };
    if !position.is_boundary() {
        return no("the copy ends inside a transaction");
    }
    let place = |at: Position| (at.epoch, at.file, at.offset);
    if place(resume.position) != place(position) {
        return no("an XA transaction was prepared before the end of the copy, and not decided");
    }
    let mut catalog = Catalog::connect(&agent.config.source, facts).await?;
    let mariadb = facts.flavour == Flavour::MariaDb;
    let Ok(gtids) = Gtids::parse(&text, mariadb) else {
        return no("its GTIDs are of another kind of server");
    };
    if let Some(lacking) = catalog.lacks(&gtids).await? {
        return no(&lacking);
    }
    // The newest file at whose beginning nothing lies that is still to be carried.
    for file in source.binlog_files().await?.into_iter().rev() {
        let Some(carried) = catalog.carried_from(&file.name, &gtids).await? else { continue };
        let at = Position::boundary(position.epoch + 1, file.number, FILE_BEGIN);
        tracing::warn!(device = %agent.device, known, server = facts.identity, file = file.name, "another server continues the copy, by its GTIDs");
        let resume = Resume { position: at, anchor: None, ..resume };
        return Ok(Origin {
            position,
            resume,
            file: file.name,
            read_from: FILE_BEGIN,
            gtids: Some(gtids),
            elsewhere: Some(carried),
            beginning: false,
            anew: false,
        });
    }
    no("its log begins later")
}
