//! A message as it arrives from a device. What does not begin like one is taken for a message's body,
//! and framed: changed bytes of a compressed frame would hardly ever get past zstd.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_wire::{Batch, Limits, MAGIC, VERSION};

fuzz_target!(|input: &[u8]| {
    let framed = (!input.starts_with(&MAGIC)).then(|| frame(input));
    let message = framed.as_deref().unwrap_or(input);
    if let Ok(batch) = Batch::decode(message, &Limits::default()) {
        let _ = (batch.memory_bytes(), batch.rows());
    }
});

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("libFuzzer's inputs are small");
    let compressed = zstd::bulk::compress(body, 1).expect("memory suffices");
    [&MAGIC[..], &[VERSION], &length.to_le_bytes(), &compressed].concat()
}
