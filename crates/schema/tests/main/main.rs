//! The classifier and the rewriter as a whole.

mod golden;
mod properties;
