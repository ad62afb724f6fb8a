//! What a process's exit code means, after `sysexits.h`: an init system or a script can tell a fault
//! that a restart may cure from one that only a person can.

/// The work is done, or a signal ended it cleanly.
pub const OK: u8 = 0;
/// Something failed that has no code of its own; the last log line says what.
pub const FAILURE: u8 = 1;
/// The command line or the configuration is wrong (`EX_USAGE`). A restart changes nothing: correct it.
pub const USAGE: u8 = 64;
/// What was read or verified is wrong (`EX_DATAERR`): damaged, contradictory, or not supported.
pub const DATA: u8 = 65;
/// A server that is needed cannot be reached (`EX_UNAVAILABLE`). A later restart may succeed.
pub const UNAVAILABLE: u8 = 69;
/// A bug: an invariant of ours does not hold (`EX_SOFTWARE`). Report it with the last log lines.
pub const INTERNAL: u8 = 70;
/// The system refused something: a port, a file, memory (`EX_OSERR`).
pub const SYSTEM: u8 = 71;
/// The work was stopped and did not end within its grace period (`EX_TEMPFAIL`).
pub const GRACE_EXPIRED: u8 = 75;
/// A server refused this identity or its rights (`EX_NOPERM`). Correct the credentials or the grants.
pub const PERMISSION: u8 = 77;
