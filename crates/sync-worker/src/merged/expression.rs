//! Expressions of generated columns, as a server says them. Pure.

/// What stands before the parenthesis that closes.
pub(super) fn balanced(text: &str) -> Option<&str> {
    let mut depth = 0u32;
    for (at, c, quote) in quoting(text) {
        match (quote, c) {
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(&text[..at]),
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    None
}

/// True when nothing but names is beyond ASCII.
pub(super) fn has_plain_literals(expression: &str) -> bool {
    quoting(expression).all(|(_, c, quote)| c.is_ascii() || quote == Some('`'))
}

/// The characters, where they stand, and the quote that they stand in.
fn quoting(text: &str) -> impl Iterator<Item = (usize, char, Option<char>)> {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().map(move |(at, c)| {
        let inside = quote;
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('\'' | '"'), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            _ => {}
        }
        (at, c, inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_ends_where_its_parenthesis_closes() {
        assert_eq!(balanced("(`a` + `b`)) STORED"), Some("(`a` + `b`)"));
        assert_eq!(balanced("concat(`a)`,')\\'') ) VIRTUAL"), Some("concat(`a)`,')\\'') "));
        assert_eq!(balanced("(`a`"), None);
    }

    #[test]
    fn literals_beyond_ascii_are_told_from_names() {
        assert!(has_plain_literals("concat(`größe`,'g\\'`')"));
        assert!(
            !has_plain_literals("concat(`a`,'ß')") && !has_plain_literals("concat('`','ß','`')")
        );
    }
}
