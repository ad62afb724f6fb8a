//! How a query begins.

use crate::cursor::Cursor;

/// At the first word of a query.
pub(crate) fn at_query(cursor: Cursor<'_>) -> bool {
    ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| cursor.at(word))
}

/// At `name AS (SELECT …)` or `name (column, …) AS (SELECT …)` of a WITH.
pub(crate) fn at_definition_of_name(mut cursor: Cursor<'_>) -> bool {
    cursor.identifier().is_some() && at_definition(cursor)
}

/// At what follows the name there.
pub(crate) fn at_definition(mut cursor: Cursor<'_>) -> bool {
    if cursor.eat_symbol(b'(') {
        while cursor.identifier().is_some() && cursor.eat_symbol(b',') {}
        if !cursor.eat_symbol(b')') {
            return false;
        }
    }
    let begins = cursor.eat("AS").is_some() && cursor.eat_symbol(b'(');
    while cursor.eat_symbol(b'(') {}
    begins && at_query(cursor)
}
