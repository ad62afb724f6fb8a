//! The modes that change where a token ends.

/// A session's `sql_mode` as the bit mask that a Query event carries (`Q_SQL_MODE_CODE`; the values
/// are in the servers' `sql/system_variables.h` and `sql/sql_class.h`, the same in both).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SqlMode(pub u64);

// === impl SqlMode ===

impl SqlMode {
    /// `MODE_ANSI_QUOTES`.
    pub const ANSI_QUOTES: SqlMode = SqlMode(0x4);
    /// `MODE_NO_BACKSLASH_ESCAPES`.
    pub const NO_BACKSLASH_ESCAPES: SqlMode = SqlMode(0x10_0000);

    /// `"x"` is an identifier, not a string.
    pub fn ansi_quotes(self) -> bool {
        self.0 & Self::ANSI_QUOTES.0 != 0
    }

    /// A backslash in a string is only a backslash.
    pub fn no_backslash_escapes(self) -> bool {
        self.0 & Self::NO_BACKSLASH_ESCAPES.0 != 0
    }
}
