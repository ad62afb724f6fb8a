//! A device's whole history: whether its log made every table that there is.
//!
//! A log that begins with file 1 and has lost nothing tells everything that was logged. A table that was made
//! with `sql_log_bin=0`, or copied into the data directory, is not in it. So before a device is carried by its
//! history, the log is read for the tables that it makes: the local server reads it in seconds.

use crate::anchor::Reader;
use crate::capture::file_number;
use crate::dump::EventBody;
use crate::snapshot::Catalog;
use crate::source::{BinlogFile, Source};
use crate::{Error, tail};
use std::collections::HashSet;
use tributary_binlog::{Body, Event};
use tributary_schema::{Ddl, DdlKind, SqlMode, Statement, TableRef};

type TableName = (String, String);

/// A table is in `information_schema` a moment before the log tells of it: a second look decides.
const LOOKS: u32 = 2;
/// So many tables are named.
const NAMED_MAX: usize = 3;

/// The tables that the log never made, at most three.
pub(crate) async fn unlogged(
    source: &mut Source,
    catalog: &mut Catalog,
    reader: &Reader<'_>,
) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for _ in 0..LOOKS {
        let there = source.base_tables().await?;
        let files = source.binlog_files().await?;
        // Of a file that is encrypted the size says more than where it ends.
        let end = catalog.log_end().await?;
        let made = made(reader, &files, end).await?;
        let folds = reader.facts.folds_names();
        missing = there
            .into_iter()
            .filter(|name| !made.contains(&folded(name.clone(), folds)))
            .map(|(database, table)| format!("{database}.{table}"))
            .take(NAMED_MAX)
            .collect();
        if missing.is_empty() {
            break;
        }
    }
    Ok(missing)
}

/// The tables that there are by the log, as long as it is now.
async fn made(
    reader: &Reader<'_>,
    files: &[BinlogFile],
    end: (u32, u64),
) -> Result<HashSet<TableName>, Error> {
    let mut made = HashSet::new();
    let Some(first) = files.first() else { return Ok(made) };
    let mut dump = reader.dump(&first.name, 4).await?;
    let (mut file, mut at) = (first.number, 4);
    while (file, at) < end {
        let received = reader.next(&mut dump).await?;
        let header = received.header;
        if tail::is_heartbeat(header.code) {
            break;
        }
        if let EventBody::Held(event, body) = &received.body {
            let event =
                Event { code: header.code, flags: header.flags, data: &event[body.clone()] };
            // What cannot be read is met again, and told, when it is carried.
            if let Ok(Body::Rotate { file: name, offset }) = event.parse() {
                (file, at) = (file_number(&name).unwrap_or(file), offset);
                dump.recycle(received);
                continue;
            }
            note(event, reader.facts.folds_names(), &mut made);
        }
        if !tail::is_made_up(&header) {
            // Not the sum of what came: MariaDB leaves out the events that only repeat a statement's text.
            at = tail::widen(header.end, at);
        }
        dump.recycle(received);
    }
    Ok(made)
}

/// Notes what an event makes.
fn note(event: Event<'_>, folds: bool, made: &mut HashSet<TableName>) {
    match event.parse() {
        Ok(Body::Query(query)) => {
            let class = tributary_schema::classify(query.sql, SqlMode(query.sql_mode));
            if let Statement::Ddl(ddl) = class {
                let full = |name: &TableRef| {
                    let database = name.database.as_ref().unwrap_or(&query.database);
                    folded((database.clone(), name.table.clone()), folds)
                };
                follow(&ddl, full, made);
            }
        }
        Ok(Body::Compressed) => {
            if let Ok(Some((code, data))) = event.inflate() {
                note(Event { code, flags: event.flags, data: &data }, folds, made);
            }
        }
        _ => {}
    }
}

/// Follows what a statement does to the tables that the log has made. `full` completes a name.
fn follow(ddl: &Ddl, full: impl Fn(&TableRef) -> TableName, made: &mut HashSet<TableName>) {
    for (old, new) in &ddl.renames {
        if made.remove(&full(old)) {
            made.insert(full(new));
        }
    }
    match ddl.kind {
        DdlKind::CreateTable => made.extend(ddl.tables.iter().map(full)),
        DdlKind::DropTable => ddl.tables.iter().for_each(|name| {
            made.remove(&full(name));
        }),
        DdlKind::DropDatabase => made.retain(|(database, _)| !ddl.databases.contains(database)),
        _ => {}
    }
}

fn folded((database, table): TableName, folds: bool) -> TableName {
    if folds { (database.to_lowercase(), table.to_lowercase()) } else { (database, table) }
}
