//! The preflight: is this server, and this link, fit to be backed up from?
//!
//! The rules are plain functions on [`Facts`]; the service refuses to start on the same ones that
//! `tributary-publisher check` prints as failed.

mod durability;
mod filter;
mod retention;
pub(crate) mod tables;

use crate::capture::SYSTEM_DATABASES;
use crate::config::Config;
use crate::link::{Answer, Link};
use crate::source::{Facts, Flavour, Source};
use crate::{Error, session, tail};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use tributary_wire::DeviceId;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, but will hurt one day.
    Warn,
    /// Would lose data, or cannot work.
    Fail,
}

/// One line of the preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it came out.
    pub outcome: Outcome,
    /// What was looked at, and found.
    pub finding: String,
    /// The statement, or the step, that mends it.
    pub fix: Option<String>,
}

const CLOCK_DIFFERENCE_MAX_S: f64 = 2.0;
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);

// === impl Check ===

impl Check {
    fn ok(finding: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ok, finding: finding.into(), fix: None }
    }

    fn warn(finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, finding: finding.into(), fix: Some(fix.into()) }
    }

    fn fail(finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, finding: finding.into(), fix: Some(fix.into()) }
    }
}

/// `FAIL  binlog_format is STATEMENT; fix: SET …`
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Ok => "ok   ",
            Outcome::Warn => "WARN ",
            Outcome::Fail => "FAIL ",
        };
        write!(f, "{outcome} {}", self.finding)?;
        self.fix.as_ref().map_or(Ok(()), |fix| write!(f, "\n      fix: {fix}"))
    }
}

/// Refuses a server that would lose data.
///
/// # Errors
/// [`Error::SourceUnfit`] with every fault and its remedy.
pub fn refuse_unfit(facts: &Facts, omissions: &[String], address: &str) -> Result<(), Error> {
    let checks = settings(facts).into_iter().chain(complete(omissions));
    let failed = checks.filter(|check| check.outcome == Outcome::Fail);
    let faults: Vec<String> = failed.map(|check| check.to_string()).collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::SourceUnfit { address: address.to_owned(), faults })
}

/// What the server's settings say. Pure.
pub fn settings(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![version(facts)];
    checks.push(if on(facts, "log_bin") {
        Check::ok("log_bin is ON")
    } else {
        Check::fail(
            "log_bin is OFF: the server writes no binary log",
            "add `log_bin` to [mysqld] in the server's configuration, and restart it",
        )
    });
    for (name, wanted, why) in [
        ("binlog_format", "ROW", "statements cannot be copied exactly"),
        ("binlog_row_image", "FULL", "rows would come without all of their columns"),
        ("binlog_row_metadata", "FULL", "rows would come without column names and keys"),
    ] {
        checks.push(setting(facts, name, wanted, why));
    }
    for (name, why) in [
        ("binlog_row_value_options", "JSON columns would come in pieces"),
        ("binlog_alter_two_phase", "this build does not read an ALTER in two phases"),
    ] {
        let value = facts.variable(name);
        if !(value.is_empty() || value == "OFF" || value == "0") {
            let off = if name == "binlog_row_value_options" { "" } else { "OFF" };
            checks.push(Check::fail(format!("{name} is {value}: {why}"), set(facts, name, off)));
        }
    }
    checks.extend(durability::settings(facts));
    checks.extend(retention::settings(facts));
    checks.push(gtid(facts));
    checks.extend(tables::settings(facts));
    checks
}

/// What the server leaves out of its log is lost without a trace.
fn complete(omissions: &[String]) -> Vec<Check> {
    let fail = |omitted: &String| {
        Check::fail(
            format!("the binary log is not complete: {omitted}"),
            "remove the filter from the server's configuration (or set log_replica_updates=ON, or free the disk that the log is on), and restart it",
        )
    };
    if omissions.is_empty() {
        vec![Check::ok("the binary log leaves nothing out")]
    } else {
        omissions.iter().map(fail).collect()
    }
}

fn version(facts: &Facts) -> Check {
    let (major, minor, _) = facts.version_numbers;
    let (name, oldest) = match facts.flavour {
        Flavour::MySql => ("MySQL", (8, 0)),
        Flavour::MariaDb => ("MariaDB", (10, 5)),
    };
    let finding = format!("{name} {}", facts.version);
    if (major, minor) >= oldest {
        return Check::ok(finding);
    }
    let (major, minor) = oldest;
    Check::fail(
        format!("{finding} is too old"),
        format!("upgrade to {name} {major}.{minor} or later"),
    )
}

fn on(facts: &Facts, name: &str) -> bool {
    matches!(facts.variable(name), "ON" | "1")
}

fn setting(facts: &Facts, name: &str, wanted: &str, why: &str) -> Check {
    let value = facts.variable(name);
    if value.eq_ignore_ascii_case(wanted) {
        return Check::ok(format!("{name} is {value}"));
    }
    let value = if value.is_empty() { "unknown to this server" } else { value };
    let fix = format!("{}, then reconnect the device's applications", set(facts, name, wanted));
    Check::fail(format!("{name} is {value}: {why}"), fix)
}

/// The statement that sets a variable for good: MariaDB has no SET PERSIST.
pub(crate) fn set(facts: &Facts, name: &str, value: &str) -> String {
    // A number in quotes is refused.
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty();
    let quoted = if is_number { value.to_owned() } else { format!("'{value}'") };
    match facts.flavour {
        Flavour::MySql => format!("SET PERSIST {name} = {quoted}"),
        Flavour::MariaDb => {
            format!(
                "SET GLOBAL {name} = {quoted}, and {name}={value} under [mariadb] in the server's configuration"
            )
        }
    }
}

fn gtid(facts: &Facts) -> Check {
    match facts.flavour {
        Flavour::MySql if facts.variable("gtid_mode") == "ON" => Check::ok("gtid_mode is ON"),
        Flavour::MySql => Check::warn(
            "gtid_mode is OFF: tables cannot be copied, which a device that has data before it joins needs, and a log that was reset is noticed less surely",
            "SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON",
        ),
        Flavour::MariaDb => Check::ok("GTIDs are always on"),
    }
}

/// Runs the whole preflight. Nothing is changed anywhere.
pub async fn run(config: &Config, device: &DeviceId) -> Vec<Check> {
    let mut checks = vec![Check::ok(format!("device id {device}"))];
    let address = config.source.address();
    let mut facts = None;
    match Source::open(&config.source).await {
        Err(error) => checks.push(Check::fail(
            error.to_string(),
            format!("start the server, or correct source.host, source.port and the credentials ({address})"),
        )),
        Ok((mut source, found)) => {
            checks.push(Check::ok(format!("source {address} answers")));
            checks.extend(settings(&found));
            checks.extend(server(&mut source, &found, &config.source.user).await);
            checks.extend(tables::look(&mut source).await);
            checks.extend(durability::writers(&mut source, &found).await);
            checks.extend(filter::checks(config, &mut source, &found).await);
            facts = Some(found);
        }
    }
    checks.extend(nats(config, device, facts.as_ref()).await);
    checks.push(state(config));
    checks.extend(facts.as_ref().and_then(|facts| room(config, facts)));
    checks
}

async fn server(source: &mut Source, facts: &Facts, user: &str) -> Vec<Check> {
    let mut checks = Vec::new();
    match source.grants().await {
        Ok(grants) => checks.extend(privileges(&grants, facts, user)),
        Err(error) => {
            checks.push(Check::warn(format!("grants cannot be read: {error}"), "grant SELECT"));
        }
    }
    if let Ok(omissions) = source.omissions(facts).await {
        checks.extend(complete(&omissions));
    }
    match source.binlog_files().await {
        Ok(files) => {
            checks.push(retention::files(source, &files).await);
        }
        Err(error) => checks.push(Check::fail(error.to_string(), grant(facts, user))),
    }
    if let Ok(theirs) = source.clock_seconds().await {
        #[allow(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 2^53")]
        let difference = (theirs - tail::now_us() as f64 / 1e6).abs();
        checks.push(if difference <= CLOCK_DIFFERENCE_MAX_S {
            Check::ok("the clocks of server and publisher agree")
        } else {
            Check::warn(format!("the clocks of server and publisher differ by {difference:.1} s: lag will be wrong by as much"), "run a time service (chrony, systemd-timesyncd)")
        });
    }
    checks
}

/// The grant that is needed.
fn grant(facts: &Facts, user: &str) -> String {
    let monitor = match facts.flavour {
        Flavour::MySql => "REPLICATION CLIENT",
        Flavour::MariaDb => "BINLOG MONITOR",
    };
    format!(
        "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, {monitor} ON *.* TO '{user}'@'%'"
    )
}

const FOR_DEFINITIONS: &str = "copy the definitions of views, triggers and events";

/// What a snapshot would miss in silence, because the server shows it only to who may see it; with the
/// statement that mends it. An account with roles may have it by one of them, if that is active: `role` is what
/// `CURRENT_ROLE()` says.
pub(crate) fn lacks_for_snapshot(
    grants: &[String],
    role: Option<&str>,
    facts: &Facts,
    user: &str,
) -> Option<String> {
    if let Some(database) = grants.iter().find_map(|grant| revoked(grant)) {
        return Some(format!(
            "the account may not read database {database} (partial revoke), which would be taken for gone; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `{database}`.* TO '{user}'@'%', or exclude it with a filter on another account"
        ));
    }
    let has_roles = grants.iter().any(|grant| !grant.contains(" ON "));
    if has_roles && role.is_some_and(|role| !role.is_empty() && role != "NONE") {
        return None;
    }
    let checks = privileges(grants, facts, user);
    let failed = checks
        .into_iter()
        .find(|check| check.outcome == Outcome::Fail && check.finding.ends_with(FOR_DEFINITIONS));
    failed.map(|check| {
        let roles = if has_roles {
            format!(", or, as none of the account's roles is active, SET DEFAULT ROLE ALL TO '{user}'@'%' (MariaDB: SET DEFAULT ROLE … FOR …)")
        } else {
            String::new()
        };
        format!("{}; {}{roles}", check.finding, check.fix.unwrap_or_default())
    })
}

/// The applications' database that a line of SHOW GRANTS takes away.
fn revoked(grant: &str) -> Option<&str> {
    let (_, rest) = grant.strip_prefix("REVOKE ")?.split_once(" ON `")?;
    let (database, _) = rest.split_once("`.")?;
    (!SYSTEM_DATABASES.contains(&database)).then_some(database)
}

fn privileges(grants: &[String], facts: &Facts, user: &str) -> Vec<Check> {
    let global: Vec<String> = grants
        .iter()
        .filter(|grant| grant.contains(" ON *.* "))
        .map(|grant| grant.to_uppercase())
        .collect();
    let has = |names: &[&str]| {
        global.iter().any(|grant| {
            grant.contains("ALL PRIVILEGES") || names.iter().any(|name| grant.contains(name))
        })
    };
    [
        (
            "REPLICATION SLAVE",
            &["REPLICATION SLAVE", "REPLICATION REPLICA"][..],
            "read the binary log",
        ),
        (
            "REPLICATION CLIENT",
            &["REPLICATION CLIENT", "BINLOG MONITOR", "SUPER"][..],
            "list its files",
        ),
        ("SELECT", &["SELECT"][..], "copy the tables"),
        ("SHOW VIEW", &["SHOW VIEW"][..], FOR_DEFINITIONS),
        ("TRIGGER", &["TRIGGER"][..], FOR_DEFINITIONS),
        ("EVENT", &["EVENT"][..], FOR_DEFINITIONS),
    ]
    .into_iter()
    .map(|(name, names, why)| {
        if has(names) {
            Check::ok(format!("the account has {name}"))
        } else {
            Check::fail(
                format!("the account lacks {name}: it is needed to {why}"),
                grant(facts, user),
            )
        }
    })
    .collect()
}

async fn nats(config: &Config, device: &DeviceId, facts: Option<&Facts>) -> Vec<Check> {
    let urls: Vec<&str> = config.nats.urls.iter().map(|url| without_login(url)).collect();
    let urls = urls.join(", ");
    let mut link = match Link::open(&config.nats, device).await {
        Ok(link) => link,
        Err(error) => return vec![Check::fail(error.to_string(), "correct the nats section")],
    };
    let connected = async { while !matches!(link.answer().await, Answer::Connected) {} };
    if timeout(ANSWER_PATIENCE, connected).await.is_err() && !link.is_connected() {
        let why = link.last_error().unwrap_or_else(|| "no answer".to_owned());
        return vec![Check::fail(
            format!("NATS at {urls} cannot be reached: {why}"),
            "start nats-server, open the port, or correct nats.urls and the credentials",
        )];
    }
    let mut checks = vec![Check::ok(format!(
        "NATS at {urls} answers, messages up to {} KiB",
        link.max_payload() >> 10
    ))];
    let request = session::question(device, 0, facts.map_or("", |facts| facts.identity.as_str()));
    link.heartbeat(&request).await;
    let answer = timeout(ANSWER_PATIENCE, link.answer()).await;
    checks.push(match (answer, link.last_error()) {
        (_, Some(error)) => Check::fail(
            format!("NATS refuses this device: {error}"),
            format!(
                "allow it to publish {} and {}, and to subscribe to {}.>",
                device.changes_subject(),
                device.heartbeat_subject(),
                device.inbox_prefix()
            ),
        ),
        (Ok(Answer::Heartbeat(reply)), _) => Check::ok(match reply.applied {
            Some(applied) => {
                format!("a sync-worker answers: this device is applied up to {}", applied.position)
            }
            None => "a sync-worker answers: this device is new".to_owned(),
        }),
        (Ok(_) | Err(_), None) => Check::warn(
            "no sync-worker answers for this device",
            "start tributary-sync-worker, or wait for the one that is starting",
        ),
    });
    link.close().await;
    checks
}

/// The part of a URL that is no secret.
fn without_login(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, server)| server)
}

/// A large event is set aside whole, and can be as large as a packet.
fn room(config: &Config, facts: &Facts) -> Option<Check> {
    let largest: u64 = facts.variable("max_allowed_packet").parse().ok()?;
    let disk = rustix::fs::statvfs(&config.state.dir).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let finding = format!(
        "state.dir has {} MiB free, and an event can have {} MiB (max_allowed_packet)",
        free >> 20,
        largest >> 20
    );
    Some(room_for(finding, free, largest))
}

fn room_for(finding: String, free: u64, largest: u64) -> Check {
    if free >= largest {
        return Check::ok(finding);
    }
    Check::warn(finding, "free the disk, or set state.dir to a place with more room")
}

fn state(config: &Config) -> Check {
    let dir = &config.state.dir;
    let probe = dir.join(".check");
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&probe, b"tributary"))
        .and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => Check::ok(format!("state.dir {} can be written", dir.display())),
        Err(error) => Check::fail(
            format!("state.dir {} cannot be written: {error}", dir.display()),
            "create it, give it to the user that runs the publisher, and free the disk",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_cannot_hold_the_largest_event_is_a_warning() {
        let outcome = |free, largest| room_for(String::new(), free, largest).outcome;
        assert_eq!(outcome(64 << 20, 64 << 20), Outcome::Ok);
        assert_eq!(outcome((64 << 20) - 1, 64 << 20), Outcome::Warn);
    }

    #[test]
    fn what_an_account_cannot_see_is_not_taken_for_gone() {
        let facts = Facts {
            flavour: Flavour::MySql,
            version: "9.7.0".into(),
            version_numbers: (9, 7, 0),
            variables: std::collections::HashMap::new(),
            system_time_zone: "+00:00".into(),
            identity: "uuid".into(),
        };
        let lacks = |grants: &[&str], role| {
            let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
            lacks_for_snapshot(&grants, role, &facts, "tributary").is_some()
        };
        let all = "GRANT SELECT, REPLICATION SLAVE, SHOW VIEW, TRIGGER, EVENT ON *.* TO `t`@`%`";
        assert!(!lacks(&[all], None));
        assert!(lacks(&["GRANT SELECT ON *.* TO `t`@`%`"], None));
        assert!(lacks(&[all, "REVOKE SELECT ON `shop`.* FROM `t`@`%`"], None));
        assert!(!lacks(&[all, "REVOKE SELECT ON `mysql`.* FROM `t`@`%`"], None));
        let by_role = ["GRANT REPLICATION SLAVE ON *.* TO `t`@`%`", "GRANT `r`@`%` TO `t`@`%`"];
        assert!(lacks(&by_role, Some("NONE")) && lacks(&by_role, None));
        assert!(!lacks(&by_role, Some("`r`@`%`")));
    }
}
