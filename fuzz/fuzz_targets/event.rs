//! Any event: type (1 byte), flags (2), body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_binlog::{Event, TablePlan, table_map};

fuzz_target!(|input: &[u8]| {
    let Some((&[code, low, high], data)) = input.split_first_chunk::<3>() else { return };
    let _ = Event { code, flags: u16::from_le_bytes([low, high]), data }.parse();
    let _ = table_map::table_name(data);
    let _ = TablePlan::compile(data);
});
