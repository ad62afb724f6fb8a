//! Why bytes are not a batch.

/// What is wrong with a message. None of these is worth a retry: the same bytes fail the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first three bytes are not [`crate::MAGIC`].
    #[error("not a batch: the message does not begin with the magic bytes 'TRB'")]
    NotABatch,
    /// Written by a newer publisher than this reader knows.
    #[error(
        "batch has version {found}, this build reads up to version {known}: upgrade the sync-worker"
    )]
    NewerVersion {
        /// The version in the message.
        found: u8,
        /// The newest this build reads.
        known: u8,
    },
    /// The message ends before it says it does, or its compressed body is damaged.
    #[error("batch is truncated or damaged: {0}")]
    Damaged(String),
    /// The message declares, or decompresses to, more than a reader will allocate.
    #[error("batch is too large: {what} is {found}, the limit is {limit}")]
    TooLarge {
        /// What is being counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much may be.
        limit: u64,
    },
    /// The body is MessagePack, but its parts contradict one another.
    #[error("batch contradicts itself: {0}")]
    Inconsistent(String),
}

impl DecodeError {
    pub(crate) fn damaged(error: impl std::fmt::Display) -> Self {
        Self::Damaged(error.to_string())
    }
}
