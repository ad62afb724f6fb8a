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

/// Largest body that becomes a message of at most `message_bytes_max`, whatever it holds.
pub(crate) fn body_bytes_max(message_bytes_max: usize) -> usize {
    let overhead = sealed_bytes_max(message_bytes_max).saturating_sub(message_bytes_max);
    let body = message_bytes_max.saturating_sub(overhead);
    // zstd's bound grows in steps, and a smaller body may lie on the other side of one.
    if sealed_bytes_max(body) > message_bytes_max { body.saturating_sub(1) } else { body }
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
    if version == 0 {
        return Err(DecodeError::damaged("version 0 was never written"));
    }
    if version > VERSION {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_body_for_a_message_fits_it_and_wastes_little() {
        for message in 100..300_000 {
            let body = body_bytes_max(message);
            assert!(sealed_bytes_max(body) <= message, "{message}");
            assert!(sealed_bytes_max(body + message / 1000 + 4) > message, "{message}");
        }
    }

    #[test]
    fn a_body_that_does_not_compress_stays_within_its_bound() {
        let mut state = 1_u64;
        let body: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(body_bytes_max(50_000))
        .collect();
        let message = seal(&body).expect("seals");
        assert!(message.len() <= 50_000 && message.len() > 49_000, "{}", message.len());
        assert_eq!(open(&message, u32::MAX).expect("opens"), body);
    }
}
