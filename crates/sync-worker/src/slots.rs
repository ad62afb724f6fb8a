//! How many messages of one reader are in flight: taken from the stream, and neither acknowledged nor given
//! up.

use std::sync::Arc;
use tokio::sync::watch;

/// Room for a reader's messages in flight.
#[derive(Debug)]
pub struct Slots {
    max: usize,
    taken: watch::Sender<usize>,
}

/// The place of one message. It is free again once this is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

// === impl Slots ===

impl Slots {
    /// Room for so many.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: watch::Sender::new(0) })
    }

    /// Waits for a place. One reader takes them, one after the other.
    pub async fn take(self: &Arc<Self>) -> Slot {
        // The sender is there for as long as this is.
        let _ = self.taken.subscribe().wait_for(|taken| *taken < self.max).await;
        self.taken.send_modify(|taken| *taken += 1);
        Slot(Arc::clone(self))
    }

    /// Waits until nothing is in flight.
    pub async fn drained(&self) {
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

// === impl Slot ===

impl Slot {
    /// True when more than half of the room is taken.
    pub fn is_crowded(&self) -> bool {
        *self.0.taken.borrow() > self.0.max / 2
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn room_is_counted_also_while_someone_waits_for_the_end() {
        let slots = Slots::new(4);
        let take = || slots.take().now_or_never();
        let mut held: Vec<Slot> = (0..3).filter_map(|_| take()).collect();
        assert!(held[0].is_crowded());
        held.pop();
        let mut drained = Box::pin(slots.drained());
        assert!(drained.as_mut().now_or_never().is_none());
        assert!(!held[0].is_crowded(), "two of four, and one who waits for their end");
        held.extend(take().into_iter().chain(take()));
        assert!(take().is_none(), "all four are taken");
        held.clear();
        assert!(drained.now_or_never().is_some());
    }
}
