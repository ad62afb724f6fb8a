//! Real logs, whole and damaged. The files in `testdata/` are logs of MySQL 9.7 and MariaDB 10.11: every
//! kind of column, compressed events and transactions, XA, savepoints, a tagged GTID, DDL.

use crate::payload::InnerEvent;
use crate::{
    BinlogError, Body, Event, Inner, Payload, Rows, Server, Step, StreamError, TablePlan,
    rows_stream,
};
use proptest::prelude::*;
use std::io::{Cursor, Read};
use tributary_wire::{BatchBuilder, Header, Position, Pushed, Resume};

const MYSQL: &[u8] = include_bytes!("testdata/mysql-9.7.binlog");
const MARIADB: &[u8] = include_bytes!("testdata/mariadb-10.11.binlog");

/// An event as it stands in the file: type, flags, body.
type Raw = (u8, u16, Vec<u8>);

fn events(log: &[u8]) -> Vec<Raw> {
    let (mut events, mut at) = (Vec::new(), 4);
    while let Some(header) = log.get(at..at + 19) {
        let size = u32::from_le_bytes(header[9..13].try_into().expect("four")) as usize;
        let flags = u16::from_le_bytes([header[17], header[18]]);
        // Four bytes of checksum stand at the end.
        events.push((header[4], flags, log[at + 19..at + size - 4].to_vec()));
        at += size;
    }
    events
}

/// What a publisher does with a log, short of sending it.
struct Reader {
    server: Server,
    plan: Option<TablePlan>,
    builder: BatchBuilder,
    rows: u64,
}

impl Reader {
    fn new(server: Server) -> Self {
        let header = Header {
            device: "d".parse().expect("valid"),
            run: 1,
            source: "s".into(),
            server: "9.7.0".into(),
            prev: Position::default(),
            end: Position::default(),
            resume: Resume::default(),
            commit_time_first_us: 0,
            commit_time_last_us: 0,
        };
        let mut builder = BatchBuilder::new(header, Position::default(), 64 << 20);
        builder.begin(Position::boundary(1, 1, 4), 0);
        Self { server, plan: None, builder, rows: 0 }
    }

    fn take(&mut self, (code, flags, data): &Raw) -> Result<(), BinlogError> {
        let event = Event { code: *code, flags: *flags, data };
        match event.parse()? {
            Body::TableMap => {
                self.plan = Some(TablePlan::compile(data, self.server)?.with_names()?);
            }
            Body::Rows => {
                let mut rows = Rows::parse(*code, data)?;
                let Some(plan) = self.plan.as_ref() else { return Ok(()) };
                let table = self.builder.table(&plan.shape);
                while !rows.is_done() {
                    let (op, here) = (rows.op, rows.clone());
                    let write = |columns: &mut _| match rows.write_next(plan, columns) {
                        Ok(true) => Ok(()),
                        Ok(false) => Err(None),
                        Err(error) => Err(Some(error)),
                    };
                    match self.builder.row(table, op, write) {
                        Ok(pushed) => assert_ne!(pushed, Pushed::Full),
                        Err(Some(error)) => return Err(error),
                        // A length that lies makes a row large: then the rest is a stream.
                        Err(None) => return read_stream(&here, plan),
                    }
                    self.rows += 1;
                }
            }
            Body::Payload => {
                let mut payload = Some(Payload::open(data)?);
                while let Some((inner, rest)) = next_event(payload.take())? {
                    self.take(&(inner.code, inner.flags, inner.data))?;
                    payload = rest;
                }
            }
            Body::Compressed => {
                let (code, plain) = match event.inflate()? {
                    Some(plain) => plain,
                    None => inflate_rows(*code, data)?,
                };
                self.take(&(code, *flags, plain))?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A compressed rows event, as a stream: what it announces is not believed.
fn inflate_rows(code: u8, data: &[u8]) -> Result<(u8, Vec<u8>), BinlogError> {
    let (code, plain, bytes) = match rows_stream(code, Box::new(Cursor::new(data.to_vec()))) {
        Ok(opened) => opened,
        Err(StreamError::Event(error)) => return Err(error),
        Err(StreamError::Io(error)) => {
            return Err(BinlogError::malformed("rows", error.to_string()));
        }
    };
    let mut out = Vec::new();
    let read = plain.take(bytes.min(16 << 20)).read_to_end(&mut out);
    read.map_err(|error| BinlogError::malformed("rows", error.to_string()))?;
    Ok((code, out))
}

/// The next event that is not too large to be held.
fn next_event(
    payload: Option<Payload>,
) -> Result<Option<(InnerEvent, Option<Payload>)>, BinlogError> {
    let Some(payload) = payload else { return Ok(None) };
    Ok(match payload.next_event()? {
        Some((Inner::Event(event), rest)) => Some((event, rest)),
        Some((Inner::Rows(..), _)) | None => None,
    })
}

fn read_stream(rows: &Rows<'_>, plan: &TablePlan) -> Result<(), BinlogError> {
    let mut stream = rows.clone().stream();
    loop {
        match stream.next(plan, 1) {
            Ok(Step::Done) => return Ok(()),
            Ok(Step::Piece(_) | Step::Row(_)) => {}
            Err(StreamError::Event(error)) => return Err(error),
            Ok(Step::Withheld) => panic!("nothing is left out"),
            Err(StreamError::Io(error)) => panic!("a slice is read without IO: {error}"),
        }
    }
}

fn logs() -> [(Server, Vec<Raw>); 2] {
    [(Server::MySql, events(MYSQL)), (Server::MariaDb, events(MARIADB))]
}

#[test]
fn whole_logs_are_read() {
    for (server, events) in logs() {
        let mut reader = Reader::new(server);
        for event in &events {
            reader.take(event).unwrap_or_else(|error| panic!("{server:?} {}: {error}", event.0));
        }
        assert!(reader.rows > 20, "{server:?}: {} rows", reader.rows);
        assert!(reader.builder.seal().is_ok());
    }
}

/// One way to damage an event.
#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    /// The extreme lengths.
    Ones(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, usize),
    Remove(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (place(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (place(), 1..9usize).prop_map(|(at, len)| Damage::Ones(at, len)),
        place().prop_map(Damage::Cut),
        (place(), 1..40usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
        (place(), 1..40usize).prop_map(|(at, len)| Damage::Remove(at, len)),
    ]
}

impl Damage {
    fn apply(&self, data: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        let len = data.len();
        match self {
            Damage::Set(at, byte) => data[at.index(len)] = *byte,
            Damage::Flip(at, bit) => data[at.index(len)] ^= 1 << bit,
            Damage::Ones(at, count) => {
                data[at.index(len)..].iter_mut().take(*count).for_each(|byte| *byte = 0xff);
            }
            Damage::Cut(at) => data.truncate(at.index(len)),
            Damage::Repeat(at, count) => {
                let begin = at.index(len);
                let piece = data[begin..len.min(begin + count)].to_vec();
                data.splice(begin..begin, piece);
            }
            Damage::Remove(at, count) => {
                let begin = at.index(len);
                data.drain(begin..len.min(begin + count));
            }
        }
    }
}

/// Unpacked, what an event becomes is bounded by what it is: text of JSON is the largest, and a batch
/// holds a table's definition besides.
const BYTES_PER_BYTE: usize = 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever is damaged, in a table map or in its rows, the outcome is rows or an error.
    #[test]
    fn damaged_events_are_read_or_refused(
        mariadb in any::<bool>(),
        which in any::<prop::sample::Index>(),
        code in prop::option::weighted(0.05, any::<u8>()),
        damages in prop::collection::vec(damage(), 1..5),
    ) {
        let [mysql, other] = logs();
        let (server, mut events) = if mariadb { other } else { mysql };
        let damaged = which.index(events.len());
        damages.iter().for_each(|damage| damage.apply(&mut events[damaged].2));
        events[damaged].0 = code.unwrap_or(events[damaged].0);
        let bytes: usize = events.iter().map(|event| event.2.len()).sum();
        let mut reader = Reader::new(server);
        // An error stops a publisher; here what follows is read as well, by whatever plan there is.
        for event in &events[damaged.saturating_sub(1)..] {
            let _ = reader.take(event);
        }
        prop_assert!(reader.builder.body_bytes() < 4096 + bytes * BYTES_PER_BYTE);
    }

    /// The events of a compressed transaction are damaged before they are packed.
    #[test]
    fn damaged_events_inside_a_payload_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..5),
    ) {
        let payloads: Vec<Raw> = events(MYSQL).into_iter().filter(|event| event.0 == 40).collect();
        let payload = Payload::open(&payloads[which.index(payloads.len())].2);
        let mut payload = Some(payload.expect("opens"));
        let mut plain = Vec::new();
        while let Some((inner, rest)) = next_event(payload.take()).expect("whole") {
            payload = rest;
            let size = u32::try_from(inner.data.len() + 19).expect("small");
            plain.extend([0; 4]);
            plain.push(inner.code);
            plain.extend([0; 4]);
            plain.extend(size.to_le_bytes());
            plain.extend([0; 6]);
            plain.extend(inner.data);
        }
        damages.iter().for_each(|damage| damage.apply(&mut plain));
        let mut data = vec![2, 3, 0xfc, 255, 0, 1, 3, 0xfc];
        data.extend(u16::try_from(plain.len()).expect("small").to_le_bytes());
        data.push(0);
        data.extend(&plain);
        let mut reader = Reader::new(Server::MySql);
        let _ = reader.take(&(40, 0, data));
        prop_assert!(reader.builder.body_bytes() < 4096 + plain.len() * BYTES_PER_BYTE);
    }
}

#[test]
fn rows_that_do_not_fit_their_table_map_are_refused() {
    let (_, events) = logs().into_iter().next().expect("two");
    let maps: Vec<&Raw> = events.iter().filter(|event| event.0 == 19).collect();
    let rows = events.iter().find(|event| event.0 == 30).expect("rows");
    let id = |event: &Raw| event.2[..6].to_vec();
    let foreign = maps.iter().find(|map| id(map) != id(rows)).expect("another table");
    let mut reader = Reader::new(Server::MySql);
    reader.take(foreign).expect("a table map");
    let error = reader.take(rows).expect_err("of another table");
    assert!(error.to_string().contains("but the table map has"), "{error}");
}

#[test]
fn a_column_type_from_the_future_is_named() {
    let (_, events) = logs().into_iter().next().expect("two");
    let (code, flags, mut data) =
        events.into_iter().find(|event| event.0 == 19).expect("a table map");
    // Behind the id, the flags, and `f`, `a` with their lengths and NULs, and the number of columns.
    let first = 8 + 3 + 3 + 1;
    assert_eq!(data[first], 3, "the type of an INT");
    for unknown in [6, 20, 142, 239, 247] {
        data[first] = unknown;
        let event = (code, flags, data.clone());
        let error = Reader::new(Server::MySql).take(&event).expect_err("unknown");
        assert!(matches!(error, BinlogError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(&unknown.to_string()), "{error}");
    }
}
