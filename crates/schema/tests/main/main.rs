//! The classifier and the rewriter as a whole.

mod dialects;
mod golden;
mod properties;
