//! Which of the live workers should own a partition. Pure.

use crate::hash;

/// The worker for a partition among the live ones, by rendezvous hashing: every replica comes to the
/// same answer from the same list, and one that joins or leaves moves only its own share.
pub fn owner(partition: u32, live: &[String]) -> Option<&str> {
    let partition = partition.to_string();
    let score = |worker: &&String| hash::stable(&["partition", &partition, worker]);
    live.iter().max_by_key(|worker| (score(worker), worker.as_str())).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let (a, b) = (vec!["x".to_owned(), "y".to_owned()], vec!["y".to_owned(), "x".to_owned()]);
        assert!((0..64).all(|p| owner(p, &a) == owner(p, &b)));
        assert_eq!(owner(0, &[]), None);
    }

    #[test]
    fn a_worker_that_leaves_moves_only_its_own_partitions() {
        let three: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let two = three[..2].to_vec();
        for partition in 0..64 {
            let before = owner(partition, &three);
            if before != Some("c") {
                assert_eq!(owner(partition, &two), before);
            }
        }
        let of_c = (0..64).filter(|p| owner(*p, &three) == Some("c")).count();
        assert!((10..34).contains(&of_c), "{of_c} of 64 partitions");
    }
}
