//! Which partition of the stream a device's changes are stored in.

use crate::DeviceId;

/// The partition of `device` among `partitions`, counted from 0.
///
/// The same as the server's subject mapping `{{partition(n,1)}}` on `device.<id>.changes`: 32-bit
/// FNV-1a over the token's bytes, modulo `n` (nats-server, `server/subject_transform.go`,
/// `getHashPartition`).
pub fn partition(device: &DeviceId, partitions: u32) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = device
        .as_str()
        .bytes()
        .fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME));
    hash.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // The published test vector: FNV-1a 32 of "foobar" is 0xbf9cf968.
        let id: DeviceId = "foobar".parse().expect("valid");
        assert_eq!(partition(&id, u32::MAX), 0xbf9c_f968);
        assert_eq!(partition(&id, 64), 0xbf9c_f968 % 64);
    }
}
