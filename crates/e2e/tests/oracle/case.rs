//! What a case of the oracle is: a column type, values for it, and where it holds.

use tributary_testkit::Flavour::{self, MariaDb, MySql};

/// The servers that have a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Both,
    Only(Flavour),
}

pub(super) const ON_MYSQL: On = On::Only(MySql);
pub(super) const ON_MARIADB: On = On::Only(MariaDb);

/// Whether, and how, the type can be a primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    No,
    Whole,
    /// Only so many characters or bytes of it.
    Prefix(u32),
}

/// What is to be done about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Carried,
    /// Not carried yet, and why: passed over with a printed line. Take the mark away when it is.
    Pending(&'static str),
}

/// One column type with its values.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Part of its tables' names.
    pub(super) name: String,
    pub(super) on: On,
    /// Columns that stand before it, each with a default, with a comma after each.
    pub(super) lead: &'static str,
    /// The type and its attributes.
    pub(super) column: String,
    /// SQL expressions that a strict session takes. NULL is always one more.
    pub(super) values: Vec<String>,
    /// SQL expressions that only `INSERT IGNORE` takes, and stores as something else.
    pub(super) bent: Vec<String>,
    pub(super) key: Key,
    pub(super) state: State,
}

impl Case {
    /// Carried, on both servers, not a key, without values.
    pub(super) fn new(name: impl Into<String>, column: impl Into<String>) -> Case {
        Case {
            name: name.into(),
            on: On::Both,
            lead: "",
            column: column.into(),
            values: Vec::new(),
            bent: Vec::new(),
            key: Key::No,
            state: State::Carried,
        }
    }

    pub(super) fn values<T: Into<String>>(mut self, more: impl IntoIterator<Item = T>) -> Case {
        self.values.extend(more.into_iter().map(Into::into));
        self
    }

    pub(super) fn bent<T: ToString>(mut self, more: &[T]) -> Case {
        self.bent.extend(more.iter().map(ToString::to_string));
        self
    }

    pub(super) fn on(self, on: On) -> Case {
        Case { on, ..self }
    }

    pub(super) fn after(self, lead: &'static str) -> Case {
        Case { lead, ..self }
    }

    pub(super) fn key(self) -> Case {
        Case { key: Key::Whole, ..self }
    }

    pub(super) fn prefix_key(self, length: u32) -> Case {
        Case { key: Key::Prefix(length), ..self }
    }

    pub(super) fn pending(self, why: &'static str) -> Case {
        Case { state: State::Pending(why), ..self }
    }

    pub(super) fn is_on(&self, flavour: Flavour) -> bool {
        self.on == On::Both || self.on == On::Only(flavour)
    }
}
