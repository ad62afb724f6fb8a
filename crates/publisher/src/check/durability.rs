//! What `check` says of a server's crashes: what its log, or its tables, may lose of the other.

use super::{Check, set};
use crate::source::{Facts, Flavour, Source};

/// What the server's settings say.
pub(super) fn settings(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![
        one(
            facts,
            "sync_binlog",
            if facts.may_lose_tail() {
                "a power cut may take transactions from the log that the tables keep: after every crash of the server all tables are copied again"
            } else {
                "a power cut may take transactions from the log that the tables keep: all tables are then copied again"
            },
        ),
        one(
            facts,
            "innodb_flush_log_at_trx_commit",
            "a crash may take transactions from the tables that the log, and the copy, keep, and nothing tells of it",
        ),
    ];
    if facts.variable("binlog_error_action").eq_ignore_ascii_case("IGNORE_ERROR") {
        checks.push(Check::warn(
            "binlog_error_action is IGNORE_ERROR: when the log cannot be written, the server goes on without one, and what is written then is in no copy",
            set(facts, "binlog_error_action", "ABORT_SERVER"),
        ));
    }
    checks
}

fn one(facts: &Facts, name: &str, why: &str) -> Check {
    match facts.variable(name) {
        "1" => Check::ok(format!("{name} is 1")),
        // A number, which the server does not take as a text.
        value => Check::warn(format!("{name} is {value}: {why}"), set(facts, name, "1")),
    }
}

/// Several servers that write in one domain of MariaDB's are carried; but no other server can be shown to
/// continue such a log.
pub(super) async fn writers(source: &mut Source, facts: &Facts) -> Option<Check> {
    if facts.flavour != Flavour::MariaDb {
        return None;
    }
    let shared = source.shared_domains().await.ok()?;
    let (domain, servers) = shared.first()?;
    let servers = servers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    Some(Check::warn(
        format!(
            "this server replicates, and domain {domain} has transactions of several servers ({servers}): their order is not that of their numbers"
        ),
        "give each server that is written to a domain of its own: SET GLOBAL gtid_domain_id=… there, and in its configuration",
    ))
}
