//! The wire format as a whole: what is built is what is read, and what is not is refused.

mod chain;
mod golden;
mod hostile;
mod noise;
mod reading;
mod round_trip;
mod support;
mod vectors;
