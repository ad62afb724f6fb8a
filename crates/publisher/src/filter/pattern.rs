//! Names with `*` and `?`.

/// A pattern of one to three parts: `database`, `database.table`, `database.table.column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    parts: Vec<Vec<Symbol>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    One(char),
    Any,
    Many,
}

// === impl Pattern ===

impl Pattern {
    /// Reads a pattern of so many parts; `None` when it is none.
    pub(crate) fn parse(text: &str, parts: usize) -> Option<Self> {
        let mut found = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = if rest.starts_with('`') { quoted(rest)? } else { plain(rest) };
            if part.is_empty() {
                return None;
            }
            found.push(part);
            if after.is_empty() {
                break;
            }
            rest = after.strip_prefix('.')?;
        }
        (found.len() == parts).then(|| Self { text: text.to_owned(), parts: found })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many parts it has.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// True when part `nth` is a name's pattern; `fold`: without regard to case.
    pub(crate) fn matches(&self, nth: usize, name: &str, fold: bool) -> bool {
        self.parts.get(nth).is_some_and(|part| matches(part, name, fold))
    }

    /// Part `nth`, for comparing it with another pattern's.
    pub(crate) fn part(&self, nth: usize) -> &[Symbol] {
        self.parts.get(nth).map_or(&[], Vec::as_slice)
    }

    /// True when part `nth` matches every name.
    pub(crate) fn is_everything(&self, nth: usize) -> bool {
        self.parts.get(nth).is_some_and(|part| part.iter().all(|symbol| *symbol == Symbol::Many))
    }
}

/// A name in backticks, a doubled one standing for one, and what follows it.
fn quoted(text: &str) -> Option<(Vec<Symbol>, &str)> {
    let mut name = Vec::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != '`' {
            name.push(Symbol::One(c));
        } else if chars.next_if(|(_, next)| *next == '`').is_some() {
            name.push(Symbol::One('`'));
        } else {
            return Some((name, &text[at + 1..]));
        }
    }
    None
}

fn plain(text: &str) -> (Vec<Symbol>, &str) {
    let (name, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let symbol = |c| match c {
        '*' => Symbol::Many,
        '?' => Symbol::Any,
        c => Symbol::One(c),
    };
    (name.chars().map(symbol).collect(), rest)
}

/// Tries each `*` with nothing first and one character more whenever what follows does not fit; only the
/// last `*` ever has to be tried again.
fn matches(pattern: &[Symbol], name: &str, fold: bool) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(Symbol::Many) => {
                retry = Some((p, n));
                p += 1;
                continue;
            }
            Some(Symbol::Any) => {}
            Some(Symbol::One(c)) if same(*c, name[n], fold) => {}
            _ => {
                let Some((many, from)) = retry else { return false };
                retry = Some((many, from + 1));
                (p, n) = (many + 1, from + 1);
                continue;
            }
        }
        (p, n) = (p + 1, n + 1);
    }
    pattern[p..].iter().all(|symbol| *symbol == Symbol::Many)
}

fn same(a: char, b: char, fold: bool) -> bool {
    a == b || (fold && a.to_lowercase().eq(b.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern, 1).expect("a pattern").matches(0, name, false)
    }

    #[test]
    fn stars_and_marks_match_what_they_stand_for() {
        for (pattern, name) in [
            ("shop", "shop"),
            ("*", ""),
            ("*", "anything"),
            ("sh?p", "ship"),
            ("tmp_*", "tmp_"),
            ("*_old", "a_old_old"),
            ("a*b*c", "a-b-b-c"),
            ("?*", "x"),
            ("商*", "商店"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("shop", "Shop"),
            ("shop", "shops"),
            ("sh?p", "shp"),
            ("*_old", "a_older"),
            ("?*", ""),
            ("a%", "ab"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(Pattern::parse("Shop", 1).expect("a pattern").matches(0, "sHOP", true));
    }

    #[test]
    fn a_part_in_backticks_is_taken_as_it_stands() {
        let pattern = Pattern::parse("`a.b*`.`c``d`.e*", 3).expect("a pattern");
        assert!(pattern.matches(0, "a.b*", false) && !pattern.matches(0, "a.bc", false));
        assert!(pattern.matches(1, "c`d", false) && pattern.matches(2, "eee", false));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, parts) in [
            ("", 1),
            ("a", 2),
            ("a.b", 1),
            ("a.", 2),
            (".b", 2),
            ("`a", 1),
            ("`a`b", 1),
            ("``", 1),
            ("a.b.c.d", 3),
        ] {
            assert_eq!(Pattern::parse(text, parts), None, "{text}");
        }
    }

    #[test]
    fn many_stars_take_no_more_than_the_product_of_the_lengths() {
        let pattern = format!("{}b", "a*".repeat(60));
        assert!(!fits(&pattern, &"a".repeat(5000)));
    }
}
