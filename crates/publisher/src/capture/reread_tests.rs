//! Whoever reads a log again, from wherever a batch ended, carries exactly what comes after it.

use super::{Capture, LogEvent};
use crate::filter::{Filter, FilterConfig};
use std::sync::Arc;
use tributary_binlog::Event;
use tributary_wire::{Batch, Header, Limits, Position, Resume, Run, Seal};

/// Logs of real servers: transactions of every form, XA, savepoints, compression.
const LOGS: [&[u8]; 2] = [
    include_bytes!("../../../binlog/src/testdata/mysql-9.7.binlog"),
    include_bytes!("../../../binlog/src/testdata/mariadb-10.11.binlog"),
];

/// The events of a log from an offset on.
fn events(log: &[u8], from: u64) -> Vec<LogEvent<'_>> {
    let number = |at: usize| u32::from_le_bytes(log[at..at + 4].try_into().expect("four bytes"));
    let (mut events, mut at) = (Vec::new(), 4);
    while at < log.len() {
        let size = number(at + 9) as usize;
        let flags = u16::from_le_bytes([log[at + 17], log[at + 18]]);
        // Four bytes of checksum stand at the end.
        let event = Event { code: log[at + 4], flags, data: &log[at + 19..at + size - 4] };
        let end = at + size;
        if at as u64 >= from {
            events.push(LogEvent {
                event,
                span: Some((at as u64, end as u64)),
                server_id: number(at + 5),
                seconds: number(at),
                time_us: 0,
            });
        }
        at = end;
    }
    events
}

/// Everything that is sealed between a place and the log's end.
fn read(log: &[u8], from: Position, resume: &Resume) -> Vec<Seal> {
    let header = Header {
        device: "d".parse().expect("valid"),
        run: 1,
        source: "s".into(),
        server: "9.7.0".into(),
        prev: from,
        end: from,
        resume: resume.clone(),
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    };
    let begin = resume.position;
    // So small that nearly every row ends a batch.
    let filter = Arc::new(Filter::new(&FilterConfig::default()).expect("carries everything"));
    let zone = "+00:00".into();
    let mut capture = Capture::new(header, from, begin, 1 << 20, 100, zone, filter);
    let mut seals = Vec::new();
    for log in events(log, begin.offset) {
        capture.take(&log, &mut seals).expect("is carried");
        while capture.is_unpacking() {
            capture.unpack(&mut seals).expect("is carried");
        }
        if capture.is_ready() {
            seals.push(capture.seal().expect("packs"));
        }
    }
    seals
}

/// Each change with the place before it.
fn changes(seals: &[Seal]) -> Vec<(Position, String)> {
    let mut changes = Vec::new();
    for seal in seals {
        let batch = Batch::decode(&seal.message, &Limits::default()).expect("decodes");
        for transaction in &batch.transactions {
            let mut at = transaction.start;
            for run in &transaction.runs {
                let what = match run {
                    Run::Rows { table, op, .. } => {
                        format!("{op:?} {}", batch.tables[*table as usize].shape.table)
                    }
                    Run::Statement(nth) => {
                        format!("{:?}", batch.statements[*nth as usize].sql.escape_ascii())
                    }
                    Run::Skipped(_) => "skipped".to_owned(),
                    Run::Piece(_) => "piece".to_owned(),
                };
                for _ in 0..run.changes() {
                    changes.push((at, what.clone()));
                    at = at.advance(1);
                }
            }
        }
    }
    changes
}

#[test]
fn a_log_that_is_read_again_from_any_batch_gives_what_comes_after_it() {
    for log in LOGS {
        let begin = Resume { position: Position::boundary(1, 1, 4), ..Resume::default() };
        let whole = read(log, Position::beginning(1), &begin);
        let all = changes(&whole);
        assert!(all.len() > 25 && whole.len() > 15, "{} in {}", all.len(), whole.len());
        assert!(whole.iter().any(|seal| !seal.header.end.is_boundary()), "none is cut");
        let is_pinned = |seal: &Seal| seal.header.resume.position < seal.header.end.floor();
        assert!(whole.iter().any(is_pinned), "nothing is ever prepared");
        for seal in &whole {
            let end = seal.header.end;
            let rest = changes(&read(log, end, &seal.header.resume));
            let expected: Vec<_> = all.iter().filter(|(at, _)| *at >= end).cloned().collect();
            assert_eq!(rest, expected, "from {end}, reading at {:?}", seal.header.resume);
        }
        // A place that is older than need be gives the same.
        for seal in &whole {
            let rest = changes(&read(log, seal.header.end, &begin));
            assert_eq!(rest[..], all[all.len() - rest.len()..]);
            assert_eq!(rest.len(), all.iter().filter(|(at, _)| *at >= seal.header.end).count());
        }
    }
}
