//! The vectors in `schemas/wire/golden/`: messages that every reader has to read, for ever.

use crate::support::{body, message};
use crate::vectors::{batches, reply, request};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tributary_wire::*;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/wire/golden")
}

fn read(name: &str) -> String {
    let path = directory().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.chunks(32).fold(String::new(), |mut text, line| {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("writes"));
        text.push('\n');
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("hex")).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn show_run(run: &Run) -> Value {
    match *run {
        Run::Rows { table, op, image, identity, count, acts } => json!({
            "rows": format!("{op:?}").to_lowercase(),
            "table": table, "image": image, "identity": identity, "count": count, "acts": acts,
        }),
        Run::Statement(index) => json!({ "statement": index }),
        Run::Skipped(count) => json!({ "skipped": count }),
        Run::Piece(index) => json!({ "piece": index }),
    }
}

fn show_cells(batch: &Batch, columns: &[Vec<Cell>]) -> Value {
    let show = |cell: &Cell| match *cell {
        Cell::Null => Value::Null,
        Cell::Int(v) => json!(v),
        Cell::UInt(v) => json!(v),
        Cell::F32(v) => json!({ "f32": v }),
        Cell::F64(v) => json!({ "f64": v }),
        Cell::Bytes { .. } => json!(to_hex(batch.bytes(*cell)).replace('\n', "")),
        Cell::Staged { part, count } => json!({ "staged": part, "pieces": count }),
    };
    columns.iter().map(|column| column.iter().map(show).collect::<Value>()).collect()
}

fn show(batch: &Batch) -> Value {
    let transactions = batch.transactions.iter().map(|transaction| {
        json!({
            "start": transaction.start,
            "end": transaction.end,
            "commit_time_us": transaction.commit_time_us,
            "runs": transaction.runs.iter().map(show_run).collect::<Value>(),
        })
    });
    let statements = batch.statements.iter().map(|statement| {
        let mut value = serde_json::to_value(statement).expect("is JSON");
        value["sql"] = json!(to_hex(&statement.sql).replace('\n', ""));
        value
    });
    let tables = batch.tables.iter().map(|block| {
        json!({
            "shape": block.shape,
            "identity": block.identity,
            "images": show_cells(batch, &block.images),
            "identities": show_cells(batch, &block.identities),
        })
    });
    json!({
        "header": batch.header,
        "transactions": transactions.collect::<Value>(),
        "statements": statements.collect::<Value>(),
        "items": batch.items,
        "tables": tables.collect::<Value>(),
        "pieces": show_cells(batch, std::slice::from_ref(&batch.pieces))[0],
    })
}

/// Without what the vector does not name: fields that came after it, which read as nothing.
fn without_later(found: &Value, wanted: &Value) -> Value {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let is_nothing = |value: &Value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::Number(number) => number.as_u64() == Some(0),
                Value::String(text) => text.is_empty(),
                Value::Array(all) => all.iter().all(|value| value.as_u64() == Some(0)),
                Value::Bool(true) | Value::Object(_) => false,
            };
            let fields = found.iter().filter_map(|(name, value)| match wanted.get(name) {
                None if is_nothing(value) => None,
                None => Some((name.clone(), value.clone())),
                Some(wanted) => Some((name.clone(), without_later(value, wanted))),
            });
            Value::Object(fields.collect())
        }
        (Value::Array(found), Value::Array(wanted)) if found.len() == wanted.len() => {
            found.iter().zip(wanted).map(|(found, wanted)| without_later(found, wanted)).collect()
        }
        _ => found.clone(),
    }
}

fn agrees(name: &str, found: &Value) {
    let wanted: Value = serde_json::from_str(&read(&format!("{name}.json"))).expect("is JSON");
    let text = serde_json::to_string_pretty(found).expect("is JSON");
    let found = without_later(found, &wanted);
    assert_eq!(wanted, found, "{name}.json, which now reads:\n{text}\n");
}

#[test]
fn every_batch_reads_as_its_json_says() {
    for (name, _) in batches() {
        let message = from_hex(&read(&format!("{name}.hex")));
        let batch = Batch::decode(&message, &Limits::default())
            .unwrap_or_else(|error| panic!("{name}.hex: {error}"));
        agrees(name, &show(&batch));
    }
}

/// Of the bodies and not of the messages: zstd may come to compress the same body to other bytes. A vector
/// that is older than a field of its structures has a shorter body, which says the same.
#[test]
fn the_builder_still_writes_the_bodies_of_the_vectors() {
    for (name, seal) in batches() {
        let wanted = from_hex(&read(&format!("{name}.hex")));
        let found = to_hex(&seal.message);
        let shown =
            |message: &[u8]| show(&Batch::decode(message, &Limits::default()).expect("decodes"));
        let is_older = body(&wanted).len() < body(&seal.message).len();
        assert!(
            body(&wanted) == body(&seal.message)
                || (is_older && shown(&wanted) == shown(&seal.message)),
            "{name}.hex, which now reads:\n{found}\n"
        );
        assert_eq!(wanted[..4], seal.message[..4], "{name}.hex: the frame's header");
        assert_eq!(body(&message(&body(&wanted))), body(&wanted));
    }
}

#[test]
fn heartbeats_are_written_and_read_as_the_vectors_say() {
    let (request, reply) = (request(), reply());
    for (name, bytes, value) in [
        ("heartbeat-request", request.encode(), serde_json::to_value(&request)),
        ("heartbeat-reply", reply.encode(), serde_json::to_value(&reply)),
    ] {
        let found = to_hex(&bytes);
        assert!(read(&format!("{name}.hex")) == found, "{name}.hex, which now reads:\n{found}\n");
        agrees(name, &value.expect("is JSON"));
    }
    let decoded = |name: &str| from_hex(&read(&format!("{name}.hex")));
    assert_eq!(HeartbeatRequest::decode(&decoded("heartbeat-request")), Ok(request));
    assert_eq!(HeartbeatReply::decode(&decoded("heartbeat-reply")), Ok(reply));
}

#[test]
fn a_heartbeat_with_fields_of_a_later_version_is_read() {
    let mut value = serde_json::to_value(request()).expect("is JSON");
    value["backlog_bytes"] = json!(5);
    let later = rmp_serde::to_vec_named(&value).expect("encodes");
    assert_eq!(HeartbeatRequest::decode(&later), Ok(request()));
}

#[test]
fn a_heartbeat_of_a_publisher_that_says_nothing_of_retention_is_read() {
    let mut value = serde_json::to_value(request()).expect("is JSON");
    value.as_object_mut().expect("a map").remove("retention").expect("was there");
    let earlier = rmp_serde::to_vec_named(&value).expect("encodes");
    let wanted = HeartbeatRequest { retention: None, ..request() };
    assert_eq!(HeartbeatRequest::decode(&earlier), Ok(wanted));
}

#[test]
fn no_vector_is_left_out() {
    let mut wanted: Vec<String> = batches().into_iter().map(|(name, _)| name.to_owned()).collect();
    wanted.extend(["heartbeat-request".to_owned(), "heartbeat-reply".to_owned()]);
    wanted.sort();
    for extension in ["hex", "json"] {
        let mut found: Vec<String> = std::fs::read_dir(directory())
            .expect("reads")
            .map(|entry| entry.expect("reads").path())
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        found.sort();
        assert_eq!(found, wanted, "*.{extension}");
    }
}
