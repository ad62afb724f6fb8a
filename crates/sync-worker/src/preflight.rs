//! `check`: whether everything is as a worker needs it, one line each, with the fix.

use crate::ddl::defaults::SWITCHES;
use crate::merged::remember;
use crate::nats;
use crate::provision::{self, Provisioned};
use crate::session::Session;
use crate::settings::{Settings, ShardSettings};
use mysql_async::Row;

mod caches;
mod fleet;
mod zones;

/// The least that a row of a device may need.
const PACKET_BYTES_MIN: usize = 64 << 20;
/// The most that a server can be told to take.
const PACKET_BYTES_MAX: usize = 1 << 30;
/// What the worker's account must be allowed, everywhere (`*.*`).
const PRIVILEGES: [&str; 11] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "ALTER",
    "INDEX",
    "REFERENCES",
    "CREATE VIEW",
    "SHOW VIEW",
];

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub verdict: Verdict,
}

/// See [`Finding`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it has to be.
    Good(String),
    /// It will do, with this drawback.
    Doubtful(String),
    /// The worker does not work like this; with the fix.
    Bad(String),
}

/// Looks at NATS and at every shard.
pub async fn check(settings: &Settings) -> Vec<Finding> {
    let (nats, made) = Box::pin(of_nats(settings)).await;
    let mut findings = vec![nats];
    if let Some(made) = made {
        findings.extend(Box::pin(fleet::look(settings, &made)).await);
    }
    findings.extend(Box::pin(check_shards(&settings.shards)).await);
    findings
}

/// Looks at every shard, and writes to the log what is not as it has to be. Holds nothing up: a worker
/// goes on with the shards that will do.
pub(crate) async fn watch(shards: Vec<ShardSettings>) {
    for Finding { subject, verdict } in check_shards(&shards).await {
        match verdict {
            Verdict::Good(found) => tracing::debug!(subject, found, "as it has to be"),
            Verdict::Doubtful(found) => tracing::warn!(subject, found, "a drawback"),
            Verdict::Bad(found) => tracing::error!(subject, found, "not as it has to be"),
        }
    }
}

async fn check_shards(shards: &[ShardSettings]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for shard in shards {
        let subject = format!("shard {}", shard.name);
        match Session::connect(&shard.opts).await {
            Ok(mut session) => {
                of_shard(&subject, &mut session, &mut findings).await;
                let verdict = layout(&mut session, shard).await;
                findings.push(Finding { subject: format!("{subject}, layout"), verdict });
                session.close().await;
            }
            Err(error) => findings.push(Finding {
                subject,
                verdict: Verdict::Bad(format!(
                    "{error}; start the server, or correct host, port, user and password"
                )),
            }),
        }
    }
    findings
}

/// True when nothing is bad.
pub fn is_good(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| matches!(finding.verdict, Verdict::Bad(_)))
}

async fn of_nats(settings: &Settings) -> (Finding, Option<Provisioned>) {
    let found = |verdict| Finding { subject: "nats".to_owned(), verdict };
    let client = match nats::connect(&settings.nats, &settings.worker_id).await {
        Ok(client) => client,
        Err(error) => return (found(Verdict::Bad(error.to_string())), None),
    };
    let context = async_nats::jetstream::new(client.clone());
    let version = client.server_info().version;
    let (verdict, made) = match context.get_stream(provision::STREAM).await {
        Ok(_) => match provision::reconcile(&context, &settings.stream, settings.lease_ttl).await {
            Ok(made) => {
                let verdict = format!("nats-server {version}, stream and buckets are there");
                (Verdict::Good(verdict), Some(made))
            }
            Err(error) => (Verdict::Bad(error.to_string()), None),
        },
        Err(error) if provision::is_missing(&error) => {
            let verdict = format!("nats-server {version}; the stream will be created");
            (Verdict::Good(verdict), None)
        }
        Err(error) => (Verdict::Bad(format!("JetStream does not answer: {error}")), None),
    };
    (found(verdict), made)
}

async fn of_shard(subject: &str, session: &mut Session, findings: &mut Vec<Finding>) {
    let server = session.server().clone();
    let mut add = |what: &str, verdict| {
        findings.push(Finding { subject: format!("{subject}, {what}"), verdict });
    };
    add("version", version(&server.version, server.mariadb));
    add("max_allowed_packet", packet(server.max_allowed_packet));
    add("privileges", privileges(session).await);
    add("lower_case_table_names", names(session).await);
    add("time zone", time_zone(session).await);
    add("zones", zones::look(session).await);
    add("character sets", character_sets(session).await);
    add("definitions", definitions(session).await);
    add("table caches", caches::look(session).await);
}

fn version(version: &str, mariadb: bool) -> Verdict {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (name, oldest) = if mariadb { ("MariaDB", (10, 5)) } else { ("MySQL", (8, 0)) };
    if found >= oldest {
        Verdict::Good(format!("{name} {version}"))
    } else {
        let (major, minor) = oldest;
        Verdict::Bad(format!("{name} {version} is older than {major}.{minor}: upgrade it"))
    }
}

fn packet(bytes: usize) -> Verdict {
    if bytes >= PACKET_BYTES_MIN {
        Verdict::Good(format!("{bytes}: no value of a device may be larger"))
    } else {
        Verdict::Doubtful(format!(
            "{bytes}: a device with a larger row or value would be parked; SET GLOBAL max_allowed_packet={PACKET_BYTES_MAX}, and in my.cnf"
        ))
    }
}

async fn privileges(session: &mut Session) -> Verdict {
    let grants: Vec<Row> = match session.rows("read the grants", "SHOW GRANTS").await {
        Ok(grants) => grants,
        Err(error) => return Verdict::Bad(error.to_string()),
    };
    let text = |mut row: Row| {
        let bytes = row.take_opt::<Vec<u8>, _>(0).and_then(Result::ok).unwrap_or_default();
        String::from_utf8_lossy(&bytes).to_uppercase()
    };
    let granted: Vec<String> =
        grants.into_iter().map(text).filter(|grant| grant.contains(" ON *.* TO ")).collect();
    let has = |wanted: &str| {
        granted.iter().any(|grant| {
            let list = grant.trim_start_matches("GRANT ").split(" ON ").next().unwrap_or_default();
            list.split(',').map(str::trim).any(|one| one == wanted || one == "ALL PRIVILEGES")
        })
    };
    let missing: Vec<&str> = PRIVILEGES.into_iter().filter(|wanted| !has(wanted)).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Verdict::Bad(format!("missing: GRANT {missing} ON *.* TO the worker's account"));
    }
    // MySQL 8.2 and later, MySQL before, MariaDB.
    let definer = ["SET_ANY_DEFINER", "SET_USER_ID", "SET USER", "SUPER"];
    if !definer.iter().any(|privilege| has(privilege)) {
        return Verdict::Doubtful(
            "a device with a view would be parked: GRANT SET_ANY_DEFINER (MariaDB: SET USER) ON *.* TO the worker's account".to_owned(),
        );
    }
    if has("PROCESS") {
        Verdict::Good("all that is needed".to_owned())
    } else {
        Verdict::Doubtful(
            "without PROCESS a RENAME that swaps two equal tables may be run twice after a crash: GRANT PROCESS ON *.* TO the worker's account".to_owned(),
        )
    }
}

async fn names(session: &mut Session) -> Verdict {
    match variable(session, "lower_case_table_names").await {
        Ok(0) => Verdict::Good("0: names keep their case".to_owned()),
        Ok(other) => Verdict::Bad(format!(
            "{other}: names of devices and tables that differ in case only would meet; initialise the server with lower_case_table_names=0"
        )),
        Err(reason) => Verdict::Bad(reason),
    }
}

async fn layout(session: &mut Session, shard: &ShardSettings) -> Verdict {
    let name = remember::name(&shard.layout);
    match remember::differs(session, &shard.bookkeeping, &shard.layout).await {
        Ok(None) => Verdict::Good(name),
        Ok(Some(found)) => Verdict::Bad(format!(
            "the configuration says {name}, and the shard holds devices in {found}: set layout back, or give the other layout a shard of its own"
        )),
        // The bookkeeping is made, or brought up to date, when a worker starts.
        Err(error) if matches!(error.code(), Some(1049 | 1054 | 1146)) => Verdict::Good(name),
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

/// The worker writes in UTC whatever the server's zone is; a session can only say so when it may.
async fn time_zone(session: &mut Session) -> Verdict {
    let sql = "SELECT CAST(@@session.time_zone AS CHAR)";
    let zone: Result<Vec<Vec<u8>>, _> = session.rows("read the time zone", sql).await;
    match zone.map(|rows| rows.into_iter().next().unwrap_or_default()) {
        Ok(zone) if zone == b"+00:00" => Verdict::Good("sessions are in UTC".to_owned()),
        Ok(zone) => Verdict::Bad(format!(
            "sessions are in {}, although UTC was set: something in between rewrites SET statements (a proxy?); connect to the server itself",
            String::from_utf8_lossy(&zone)
        )),
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

/// Switches that refuse what a device's server took, and that the account may not set for itself.
async fn definitions(session: &mut Session) -> Verdict {
    let names = SWITCHES.map(|(name, _)| format!("'{name}'")).join(",");
    let sql = format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({names}) AND Value='ON'");
    let set: Vec<(String, String)> = match session.rows("read the switches", &sql).await {
        Ok(set) => set,
        Err(error) => return Verdict::Bad(error.to_string()),
    };
    let mut kept = Vec::new();
    for (name, _) in set {
        let sql = format!("SET SESSION {name}=OFF");
        match session.run("try a switch", sql.as_bytes()).await {
            Ok(()) => {
                let sql = format!("SET SESSION {name}=DEFAULT");
                if let Err(error) = session.run("put a switch back", sql.as_bytes()).await {
                    return Verdict::Bad(error.to_string());
                }
            }
            Err(error) if error.code() == Some(1227) => kept.push(name),
            Err(error) => return Verdict::Bad(error.to_string()),
        }
    }
    if kept.is_empty() {
        return Verdict::Good("tables are made as the devices have them".to_owned());
    }
    let found = format!(
        "{}: a device whose tables its server took without would be parked; GRANT SESSION_VARIABLES_ADMIN ON *.* TO the worker's account, or SET PERSIST {}",
        kept.iter().map(|name| format!("{name} is ON")).collect::<Vec<_>>().join(", "),
        kept.iter().map(|name| format!("{name}=OFF")).collect::<Vec<_>>().join(", ")
    );
    // By default a server has those alone that hardly a device meets.
    let usual = ["innodb_strict_mode", "restrict_fk_on_non_standard_key"];
    if kept.iter().all(|name| usual.contains(&name.as_str())) {
        Verdict::Doubtful(found)
    } else {
        Verdict::Bad(found)
    }
}

/// What MySQL and MariaDB do not have in common.
async fn character_sets(session: &mut Session) -> Verdict {
    let sql = "SELECT COUNT(*), COALESCE(SUM(collation_name='utf8mb4_0900_ai_ci'), 0) \
               FROM information_schema.collations WHERE character_set_name='utf8mb4'";
    let rows: Result<Vec<(u64, u64)>, _> = session.rows("count the collations", sql).await;
    match rows.map(|rows| rows.first().copied().unwrap_or_default()) {
        Ok((0, _)) => Verdict::Bad(
            "no utf8mb4: text of the devices could not be stored; use a server that has it".to_owned(),
        ),
        Ok((count, 1..)) => Verdict::Good(format!("utf8mb4, in {count} collations")),
        Ok((_, 0)) => Verdict::Good(
            "utf8mb4, without the collations of MySQL 8: text of such devices gets the nearest, and a device is parked whose text is unique by one; COLLATE utf8mb4_unicode_ci in its tables is had by both".to_owned(),
        ),
        Err(error) => Verdict::Bad(error.to_string()),
    }
}

async fn variable(session: &mut Session, name: &str) -> Result<u64, String> {
    let rows: Result<Vec<u64>, _> =
        session.rows("read a variable", &format!("SELECT @@global.{name}")).await;
    let rows = rows.map_err(|error| error.to_string())?;
    rows.first().copied().ok_or_else(|| format!("{name} has no value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_with_the_oldest_that_will_do() {
        assert!(matches!(version("9.7.0", false), Verdict::Good(_)));
        assert!(matches!(version("5.7.44", false), Verdict::Bad(_)));
        assert!(matches!(version("10.11.6-MariaDB-0+deb12u1", true), Verdict::Good(_)));
        assert!(matches!(version("10.3.39-MariaDB", true), Verdict::Bad(_)));
    }
}
