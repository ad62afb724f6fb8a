//! One stable hash for everything that must come out the same in every replica and every release.

/// FNV-1a over the bytes of `parts`, each ended by a byte that occurs in no name, then mixed so that
/// names which differ in their last digit do not land side by side.
///
/// Changing this function moves devices between lanes and partitions between workers; it moves no
/// device between shards, because a shard remembers its devices itself.
pub(crate) fn stable(parts: &[&str]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    mix(bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
}

/// The finalizer of splitmix64.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The score of a candidate in weighted rendezvous hashing; the highest wins. Each candidate wins in
/// proportion to its weight, and adding one moves only what it wins itself.
pub(crate) fn rendezvous_score(hash: u64, weight: f64) -> f64 {
    // 53 bits, moved off zero: a number in (0, 1), whose logarithm is negative and finite.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    let unit = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -weight / unit.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_name_do_not_run_into_each_other() {
        assert_ne!(stable(&["ab", "c"]), stable(&["a", "bc"]));
    }

    #[test]
    fn candidates_win_in_proportion_to_their_weight() {
        let wins = (0..20_000)
            .filter(|i| {
                let key = i.to_string();
                rendezvous_score(stable(&[&key, "a"]), 3.0)
                    > rendezvous_score(stable(&[&key, "b"]), 1.0)
            })
            .count();
        assert!((14_600..15_400).contains(&wins), "{wins} of 20000 instead of about 15000");
    }
}
