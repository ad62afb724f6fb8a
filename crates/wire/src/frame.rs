//! The outermost layer of a message: magic, version, size, zstd.
//!
//! `"TRB"`, version (1 byte), length of the body before compression (u32, little-endian), then one
//! zstd frame.

use crate::DecodeError;

/// The first three bytes of every batch.
pub const MAGIC: [u8; 3] = *b"TRB";
/// The version this build writes, and the newest it reads.
pub const VERSION: u8 = 1;

const HEADER_BYTES: usize = 8;
/// zstd's fast end: a device has a weak processor and a thin link, and level 3 is where both are
/// still cheap.
const COMPRESSION_LEVEL: i32 = 3;

/// Compresses `body` into a message.
pub(crate) fn seal(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u32::try_from(body.len()).map_err(std::io::Error::other)?;
    let mut message =
        Vec::with_capacity(HEADER_BYTES + zstd::zstd_safe::compress_bound(body.len()));
    message.extend_from_slice(&MAGIC);
    message.push(VERSION);
    message.extend_from_slice(&length.to_le_bytes());
    message.resize(message.capacity(), 0);
    let written =
        zstd::bulk::compress_to_buffer(body, &mut message[HEADER_BYTES..], COMPRESSION_LEVEL)?;
    message.truncate(HEADER_BYTES + written);
    message.shrink_to_fit();
    Ok(message)
}

/// Largest message that a body of `body_bytes` can become.
pub(crate) fn sealed_bytes_max(body_bytes: usize) -> usize {
    HEADER_BYTES + zstd::zstd_safe::compress_bound(body_bytes)
}

/// Returns the body, allocating at most `body_bytes_max` and never more than the message declares.
pub(crate) fn open(message: &[u8], body_bytes_max: u32) -> Result<Vec<u8>, DecodeError> {
    let Some((header, compressed)) = message.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DecodeError::damaged("shorter than its header"));
    };
    let [m0, m1, m2, version, l0, l1, l2, l3] = *header;
    if [m0, m1, m2] != MAGIC {
        return Err(DecodeError::NotABatch);
    }
    if version == 0 || version > VERSION {
        return Err(DecodeError::NewerVersion { found: version, known: VERSION });
    }
    let declared = u32::from_le_bytes([l0, l1, l2, l3]);
    if declared > body_bytes_max {
        return Err(DecodeError::TooLarge {
            what: "the body in bytes",
            found: u64::from(declared),
            limit: u64::from(body_bytes_max),
        });
    }
    // The destination has exactly the declared size: a frame that unpacks to more is an error from
    // zstd, not an allocation.
    let body =
        zstd::bulk::decompress(compressed, declared as usize).map_err(DecodeError::damaged)?;
    if body.len() != declared as usize {
        return Err(DecodeError::damaged(format!(
            "declares a body of {declared} bytes and holds {}",
            body.len()
        )));
    }
    Ok(body)
}
