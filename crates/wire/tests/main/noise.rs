//! Random bytes, and random changes to a message, are refused or read: nothing panics.

use crate::hostile::{limits, sample};
use crate::support::{body, message};
use proptest::prelude::*;
use tributary_wire::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_read_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Batch::decode(&bytes, &limits());
        let _ = Batch::decode(&message(&bytes), &limits());
        let _ = HeartbeatRequest::decode(&bytes);
        let _ = HeartbeatReply::decode(&bytes);
    }

    #[test]
    fn bytes_changed_in_a_message_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut changed = sample().to_vec();
        for (index, byte) in flips {
            *index.get_mut(&mut changed) = byte;
        }
        let _ = Batch::decode(&changed, &limits());
    }

    #[test]
    fn bytes_changed_in_a_body_never_panic_and_what_is_read_is_consistent(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut changed = body(sample());
        for (index, byte) in flips {
            *index.get_mut(&mut changed) = byte;
        }
        if let Ok(batch) = Batch::decode(&message(&changed), &limits()) {
            let mut at = batch.header.prev;
            for transaction in &batch.transactions {
                prop_assert!(at <= transaction.start && transaction.start < transaction.end);
                at = transaction.end;
                for run in &transaction.runs {
                    if let Run::Rows { table, op, image, identity, count, .. } = *run {
                        let block = &batch.tables[table as usize];
                        let images = block.images.first().map_or(0, Vec::len) as u32;
                        let identities = block.identities.first().map_or(0, Vec::len) as u32;
                        prop_assert!(!op.has_image() || image + count <= images);
                        prop_assert!(!op.has_identity() || identity + count <= identities);
                    }
                }
            }
            prop_assert!(at <= batch.header.end);
            for cell in batch.tables.iter().flat_map(|block| block.images.iter().flatten()) {
                let _ = batch.bytes(*cell);
            }
        }
    }
}
