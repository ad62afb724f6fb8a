//! The watermark of a device, as its shard holds it, and the SQL that reads and moves it.

use crate::cascades::Cascades;
use crate::literal::quoted;
use crate::sql_error::SqlError;
use mysql_async::Row;
use mysql_async::prelude::FromValue;
use tributary_schema::quote;
use tributary_wire::{Applied, DeviceId, Header, Position, Resume, SnapshotCursor};

/// How far a device is applied, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watermark {
    /// Everything up to here is committed.
    pub position: Position,
    /// Where a reader of the binlog has to restart.
    pub resume: Resume,
    /// Identity of the MySQL server that the position belongs to.
    pub source: String,
    /// The publisher's run that was applied last.
    pub run: u64,
    /// Commit time at the source of the newest transaction applied, in microseconds; 0 is none.
    pub commit_time_us: i64,
    /// Grows with every DDL statement.
    pub shape_generation: u64,
    /// A DDL statement that was begun and not noted as done.
    pub intent: Option<Intent>,
    /// The device is stopped here.
    pub parked: Option<Parked>,
    /// Runs that are refused while a snapshot is under way: they do not go on from this row. The newest
    /// last; see [`crate::admission`].
    pub refused_runs: Vec<u64>,
    /// Tables whose rows others follow by a foreign key.
    pub cascades: Cascades,
}

/// A DDL statement that was about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Where the statement stands in the log.
    pub position: Position,
    /// What its objects looked like before it ran.
    pub fingerprint: String,
}

/// Why a device is stopped, and what has to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parked {
    /// What failed.
    pub reason: String,
    /// What a person has to do.
    pub remedy: String,
}

/// The table's columns that hold a position, a resume position and the rest that moves with them.
const MOVING: &str = "epoch,file,`offset`,part,resume_epoch,resume_file,resume_offset,gtid,source,run,\
                      commit_time_us,shape_generation,intent_epoch,intent_file,intent_offset,\
                      intent_part,intent_fingerprint,parked_reason,parked_remedy,snapshot,anchor,\
                      cascades";
/// A reason that is longer says nothing more.
const REASON_BYTES_MAX: usize = 4000;

/// Runs that are remembered as refused.
const REFUSED_RUNS_MAX: usize = 8;

/// The fingerprint of an intent that says: this statement was made by hand, go past it.
pub const SKIP: &str = "skip";

// === impl Intent ===

impl Intent {
    /// True when an operator said that the statement at this position is to be passed.
    pub fn skips(&self, position: Position) -> bool {
        self.position == position && self.fingerprint == SKIP
    }
}

// === impl Watermark ===

impl Watermark {
    /// A device's before anything of it was applied.
    pub fn unseen() -> Self {
        let position = Position::beginning(1);
        Self {
            position,
            resume: Resume { position, gtid: None, ..Resume::default() },
            ..Self::default()
        }
    }

    /// Moves to a place in, or the end of, a batch.
    ///
    /// Inside a batch the place to restart from stays where it was: what was prepared before and is not
    /// decided lies behind it, and a publisher passes over what it reads again. The first batch of a
    /// device or an epoch has none yet: then it is the place itself, or the beginning of the transaction
    /// that it lies in, whose GTID is not known.
    pub fn advance(&mut self, position: Position, header: &Header) {
        if position == header.end {
            self.resume = header.resume.clone();
            if header.commit_time_last_us > 0 {
                self.commit_time_us = header.commit_time_last_us;
            }
        } else {
            self.resume = self.resume_inside(position.floor(), header);
        }
        self.position = position;
        self.source.clone_from(&header.source);
        self.run = header.run;
        self.intent = self.intent.take().filter(|intent| intent.position == position);
    }

    /// Where to restart from inside a batch.
    ///
    /// Between two items of a snapshot its cursor stays where it was, if this run had set it: an item
    /// that is repeated does no harm, one that is left out would. Otherwise nothing counts as copied.
    /// Transactions only ever move the cursor back, which is safe at any of them.
    fn resume_inside(&mut self, floor: Position, header: &Header) -> Resume {
        let known = self.resume.position.file > 0 && self.resume.position.epoch == floor.epoch;
        let own = self.resume.snapshot.take().filter(|_| known && self.run == header.run);
        let nothing = SnapshotCursor { complete: true, ..SnapshotCursor::default() };
        let has_items = header.end.items() > 0;
        let snapshot =
            if has_items { Some(own.unwrap_or(nothing)) } else { header.resume.snapshot.clone() };
        if known {
            return Resume { snapshot, ..std::mem::take(&mut self.resume) };
        }
        if floor == header.resume.position {
            return Resume { snapshot, ..header.resume.clone() };
        }
        Resume { position: floor, snapshot, ..Resume::default() }
    }

    /// Refuses a run from now on. False when it was refused before.
    pub fn refuse(&mut self, run: u64) -> bool {
        if self.refused_runs.contains(&run) {
            return false;
        }
        self.refused_runs.push(run);
        let surplus = self.refused_runs.len().saturating_sub(REFUSED_RUNS_MAX);
        self.refused_runs.drain(..surplus);
        true
    }

    /// What a heartbeat tells the device.
    pub fn applied(&self, lag_us: u64) -> Applied {
        Applied {
            position: self.position,
            resume: self.resume.clone(),
            source: self.source.clone(),
            lag_us,
        }
    }

    fn from_row(mut row: Row) -> Option<(DeviceId, Self)> {
        let device = text(&mut row, 0)?.parse().ok()?;
        let position = Position {
            epoch: take(&mut row, 1)?,
            file: take(&mut row, 2)?,
            offset: take(&mut row, 3)?,
            part: take(&mut row, 4)?,
        };
        let resume = Position::boundary(take(&mut row, 5)?, take(&mut row, 6)?, take(&mut row, 7)?);
        let intent = take::<Option<u32>>(&mut row, 13)?.and_then(|epoch| {
            let position = Position {
                epoch,
                file: take(&mut row, 14)?,
                offset: take(&mut row, 15)?,
                part: take(&mut row, 16)?,
            };
            Some(Intent { position, fingerprint: text(&mut row, 17)? })
        });
        let parked = text(&mut row, 18)
            .map(|reason| Parked { reason, remedy: text(&mut row, 19).unwrap_or_default() });
        let (snapshot, refused_runs) = match take::<Option<Vec<u8>>>(&mut row, 20)? {
            Some(bytes) => rmp_serde::from_slice(&bytes).ok()?,
            None => (None, Vec::new()),
        };
        let anchor = match take::<Option<Vec<u8>>>(&mut row, 21)? {
            Some(bytes) => Some(rmp_serde::from_slice(&bytes).ok()?),
            None => None,
        };
        let watermark = Self {
            position,
            resume: Resume { position: resume, gtid: text(&mut row, 8), snapshot, anchor },
            source: text(&mut row, 9)?,
            run: take(&mut row, 10)?,
            commit_time_us: take(&mut row, 11)?,
            shape_generation: take(&mut row, 12)?,
            intent,
            parked,
            refused_runs,
            cascades: Cascades::parse(take::<Option<Vec<u8>>>(&mut row, 22)?.as_deref())?,
        };
        Some((device, watermark))
    }

    fn snapshot_bytes(&self) -> Option<Vec<u8>> {
        let parts = (&self.resume.snapshot, &self.refused_runs);
        let is_empty = parts.0.is_none() && parts.1.is_empty();
        // Strings, bytes and numbers: nothing that MessagePack cannot say.
        (!is_empty).then(|| rmp_serde::to_vec(&parts).unwrap_or_default())
    }

    fn write_values(&self, sql: &mut Vec<u8>, device: &DeviceId) {
        sql.push(b'(');
        quoted(sql, device.as_str().as_bytes());
        let (at, resume) = (self.position, self.resume.position);
        let numbers = format!(
            ",{},{},{},{},{},{},{},",
            at.epoch, at.file, at.offset, at.part, resume.epoch, resume.file, resume.offset
        );
        sql.extend_from_slice(numbers.as_bytes());
        optional(sql, self.resume.gtid.as_deref());
        sql.push(b',');
        quoted(sql, self.source.as_bytes());
        let numbers = format!(",{},{},{},", self.run, self.commit_time_us, self.shape_generation);
        sql.extend_from_slice(numbers.as_bytes());
        match &self.intent {
            Some(Intent { position: at, .. }) => sql.extend_from_slice(
                format!("{},{},{},{},", at.epoch, at.file, at.offset, at.part).as_bytes(),
            ),
            None => sql.extend_from_slice(b"NULL,NULL,NULL,NULL,"),
        }
        optional(sql, self.intent.as_ref().map(|intent| intent.fingerprint.as_str()));
        sql.push(b',');
        optional(sql, self.parked.as_ref().map(|parked| cut(&parked.reason)));
        sql.push(b',');
        optional(sql, self.parked.as_ref().map(|parked| cut(&parked.remedy)));
        sql.push(b',');
        match self.snapshot_bytes() {
            Some(bytes) => hexadecimal(sql, &bytes),
            None => sql.extend_from_slice(b"NULL"),
        }
        sql.push(b',');
        match &self.resume.anchor {
            // Numbers alone.
            Some(anchor) => hexadecimal(sql, &rmp_serde::to_vec(anchor).unwrap_or_default()),
            None => sql.extend_from_slice(b"NULL"),
        }
        sql.push(b',');
        match self.cascades.to_bytes() {
            Some(bytes) => hexadecimal(sql, &bytes),
            None => sql.extend_from_slice(b"NULL"),
        }
        sql.extend_from_slice(if self.parked.is_some() { b",NOW(6))" } else { b",NULL)" });
    }
}

/// Bytes as `x'…'`: a statement of ours stays text, or the shard's list of processes cannot be shown while it runs
/// (MySQL's error 3854).
fn hexadecimal(sql: &mut Vec<u8>, bytes: &[u8]) {
    sql.extend_from_slice(b"x'");
    for byte in bytes {
        sql.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    sql.push(b'\'');
}

/// Reads the watermarks of `devices`, and locks them until the transaction ends where `lock` is set.
pub fn select(database: &str, devices: &[&DeviceId], lock: bool) -> String {
    let mut list = Vec::new();
    for device in devices {
        quoted(&mut list, device.as_str().as_bytes());
        list.push(b',');
    }
    list.pop();
    let lock = if lock { " FOR UPDATE" } else { "" };
    // In key order, so that two workers lock the same devices in the same order.
    format!(
        "SELECT device_id,{MOVING} FROM {}.watermark WHERE device_id IN ({}) ORDER BY device_id{lock}",
        quote(database),
        String::from_utf8_lossy(&list)
    )
}

/// Reads every parked device's watermark.
pub fn select_parked(database: &str) -> String {
    format!(
        "SELECT device_id,{MOVING} FROM {}.watermark WHERE parked_reason IS NOT NULL ORDER BY device_id",
        quote(database)
    )
}

/// Reads since when each parked device is parked, in UTC: the session's time zone.
pub fn select_parked_since(database: &str) -> String {
    format!(
        "SELECT device_id, DATE_FORMAT(parked_at, '%Y-%m-%dT%H:%i:%sZ') FROM {}.watermark \
         WHERE parked_reason IS NOT NULL AND parked_at IS NOT NULL",
        quote(database)
    )
}

/// What [`select`] returned.
///
/// # Errors
/// [`SqlError`] when a row is not a watermark.
pub fn parse(rows: Vec<Row>) -> Result<Vec<(DeviceId, Watermark)>, SqlError> {
    let watermarks = rows.into_iter().map(Watermark::from_row).collect::<Option<_>>();
    watermarks.ok_or(SqlError::unreadable("read the watermarks"))
}

/// Writes watermarks whose rows are locked, or, for `new` devices, do not exist. A plain INSERT for
/// the new ones: another worker that was faster makes it fail, and its row is found next time.
pub fn store(database: &str, new: bool, watermarks: &[(&DeviceId, &Watermark)]) -> Vec<u8> {
    let table = format!("{}.watermark", quote(database));
    let head = format!("INSERT INTO {table} (device_id,{MOVING},parked_at) VALUES ");
    let mut sql = head.into_bytes();
    for (device, watermark) in watermarks {
        watermark.write_values(&mut sql, device);
        sql.push(b',');
    }
    sql.pop();
    if !new {
        let assign = |column: &str| format!("{column}=VALUES({column})");
        let columns = MOVING.split(',').chain(["parked_at"]).map(assign).collect::<Vec<_>>();
        sql.extend_from_slice(b" ON DUPLICATE KEY UPDATE ");
        sql.extend_from_slice(columns.join(",").as_bytes());
    }
    sql
}

/// Lets a parked device go on; with `skip_statement`, past the statement it stands before.
pub fn release(database: &str, device: &DeviceId, skip_statement: bool) -> String {
    let skip = if skip_statement {
        format!(
            ", intent_epoch=epoch, intent_file=file, intent_offset=`offset`, intent_part=part, \
             intent_fingerprint='{SKIP}'"
        )
    } else {
        String::new()
    };
    format!(
        "UPDATE {}.watermark SET parked_reason=NULL, parked_remedy=NULL, parked_at=NULL{skip} \
         WHERE device_id='{device}' AND parked_reason IS NOT NULL",
        quote(database)
    )
}

fn optional(sql: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => quoted(sql, text.as_bytes()),
        None => sql.extend_from_slice(b"NULL"),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=REASON_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn take<T: FromValue>(row: &mut Row, index: usize) -> Option<T> {
    row.take_opt(index)?.ok()
}

fn text(row: &mut Row, index: usize) -> Option<String> {
    let bytes: Vec<u8> = take::<Option<Vec<u8>>>(row, index)??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
