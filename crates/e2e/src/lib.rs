//! Nothing but tests: see `tests/`. They run the binaries that the workspace has built, so that the
//! binaries can be killed.
