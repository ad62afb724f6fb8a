//! Cases from the field, each a folder of `cases/`, and what runs them: see [`cases`]. The tests are in
//! `tests/`. Both run the binaries that the workspace has built, so that the binaries can be killed.

pub mod cases;
