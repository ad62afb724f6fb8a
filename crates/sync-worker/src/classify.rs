//! The one place that decides what an error of a shard means.

use crate::sql_error::SqlError;

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Two transactions met: the same group again, after a moment.
    Conflict,
    /// The connection is gone: a new one, then the same group again.
    Reconnect,
    /// The shard takes nothing from anyone just now: the same group again, with growing delays, and
    /// the shard counts as down meanwhile.
    Unavailable,
    /// There is no room for these rows: in a group, each device alone; of a device alone, it waits aside
    /// until there is. It may be its table that is full, or the disk.
    Full,
    /// These data cannot be written: a group is divided until the device at fault is alone, and that is parked.
    Data,
    /// The shard's bookkeeping is not what this build expects. Nothing may be written there before
    /// someone has looked.
    Halt,
}

/// Which statement it was that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// One of a device's: its rows, its tables, its DDL.
    Device,
    /// One of ours: the watermarks.
    Bookkeeping,
}

/// Sorts an error. Numbers are those of MySQL's `mysqld_error.h`, from 1900 on also of MariaDB's.
pub fn classify(error: &SqlError, subject: Subject) -> Class {
    let code = match error {
        SqlError::Timeout { .. } | SqlError::Lost { .. } => return Class::Reconnect,
        SqlError::Unexpected { .. } => return Class::Data,
        SqlError::Refused { code, .. } => *code,
    };
    match code {
        // Deadlock, lock wait timeout, NOWAIT, row changed since it was read.
        1213 | 1205 | 3572 | 1020 => Class::Conflict,
        // A name or a value that the bookkeeping cannot hold is one that a device made.
        1059 | 1102 | 1103 | 1406 => Class::Data,
        // Two workers saw a new device at once: the loser finds the winner's row next time.
        1062 if subject == Subject::Bookkeeping => Class::Conflict,
        // Shutdown, killed, interrupted, network errors, disconnected for idling, out of time.
        1053 | 1927 | 1317 | 1152 | 1158..=1161 | 4031 | 3024 | 1969 => Class::Reconnect,
        // Read only: the server, a transaction, offline mode.
        1290 | 1836 | 1792 | 3032 => Class::Unavailable,
        // Too many connections, resources of the account used up, host refused.
        1040 | 1203 | 1226 | 1129 | 1130 => Class::Unavailable,
        // The account cannot log in.
        1045 | 1698 | 1862 => Class::Unavailable,
        // A file cannot be created, written or extended (1, 3 and 20 are of mysys), disk full, error on
        // write, table full, engine error (a full disk, mostly).
        1 | 3 | 20 | 1004 | 1021 | 1026 | 1030 | 1114 if subject == Subject::Device => Class::Full,
        1 | 3 | 20 | 1004 | 1021 | 1026 | 1030 | 1114 => Class::Unavailable,
        // Out of memory, too many transactions.
        1037 | 1038 | 1041 | 1637 => Class::Unavailable,
        _ if subject == Subject::Bookkeeping => Class::Halt,
        // Everything else says something about the data or the tables, and will say it again.
        _ => Class::Data,
    }
}

/// What a person has to do before a device can go on that was parked with this error.
pub fn remedy(error: &SqlError) -> &'static str {
    if matches!(error, SqlError::Unexpected { .. }) {
        return "the shard's rows are not what the device's were at the watermark: restore them there, or drop the device's databases and its watermark at the shard, so that it begins anew; then release the device";
    }
    if error.to_string().contains("WITHOUT OVERLAPS") {
        return "no row can be written over another of a key WITHOUT OVERLAPS: at the shard, give the table a plain PRIMARY KEY of the same columns (ALTER TABLE … DROP PRIMARY KEY; ALTER TABLE … ADD PRIMARY KEY (…): in two statements), then release the device";
    }
    match error.code() {
        Some(1044 | 1142 | 1143 | 1227 | 1370 | 1410) => {
            "grant the worker's account the missing privilege at the shard (tributary-sync-worker check lists them), then release the device"
        }
        Some(1146 | 1049 | 1054 | 1051 | 1109) => {
            "restore the missing table, column or database at the shard as the device has it, then release the device"
        }
        Some(1050 | 1007 | 1060 | 1061) => {
            "the object exists at the shard although the device has only now made it: someone else made it there; rename or drop it, then release the device"
        }
        Some(1153 | 1301) => {
            "raise max_allowed_packet at the shard above the device's largest row, then release the device"
        }
        Some(1062) => {
            "the shard holds a row that the device does not: compare the table with the device's, remove the row, then release the device"
        }
        Some(1364) => {
            "the shard's table has a column that the device's has not, and that cannot be left out: give it a default, or drop it, then release the device"
        }
        Some(1264 | 1366 | 1406 | 1265 | 1292 | 1048 | 1411) => {
            "the shard's column cannot hold the device's value: give it the device's type, then release the device"
        }
        Some(1298) => {
            "load the time zone tables at the shard (mysql_tzinfo_to_sql), then release the device"
        }
        Some(1273 | 1115 | 1128 | 1286 | 1193 | 1235 | 1064) => {
            "the shard's server does not have what the device's server has: upgrade the shard, or move the device to a shard of the same kind, then release the device"
        }
        _ => "correct what the error says at the shard, then release the device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> SqlError {
        SqlError::Refused { operation: "test", code, message: "m".into(), statement: None }
    }

    #[test]
    fn conflicts_are_tried_again_and_data_errors_are_not() {
        for (code, class) in [
            (1213, Class::Conflict),
            (1205, Class::Conflict),
            (1053, Class::Reconnect),
            (1290, Class::Unavailable),
            (1836, Class::Unavailable),
            (1040, Class::Unavailable),
            (1114, Class::Full),
            (1030, Class::Full),
            (1041, Class::Unavailable),
            (1235, Class::Data),
            (1062, Class::Data),
            (1406, Class::Data),
            (1142, Class::Data),
            (65_000, Class::Data),
        ] {
            assert_eq!(classify(&refused(code), Subject::Device), class, "error {code}");
        }
    }

    #[test]
    fn an_unknown_error_of_the_bookkeeping_halts_the_shard_instead_of_parking_a_device() {
        assert_eq!(classify(&refused(1146), Subject::Bookkeeping), Class::Halt);
        assert_eq!(classify(&refused(1062), Subject::Bookkeeping), Class::Conflict);
        assert_eq!(classify(&refused(1114), Subject::Bookkeeping), Class::Unavailable);
        // Of what a device made long, or named as no object can be named.
        assert_eq!(classify(&refused(1406), Subject::Bookkeeping), Class::Data);
        assert_eq!(classify(&refused(1102), Subject::Bookkeeping), Class::Data);
        assert_eq!(classify(&refused(1213), Subject::Bookkeeping), Class::Conflict);
    }

    #[test]
    fn a_statement_that_hit_the_wrong_number_of_rows_is_a_data_error() {
        let error = SqlError::Unexpected { fault: "0 rows".into(), statement: 3 };
        assert_eq!(classify(&error, Subject::Device), Class::Data);
    }
}
