//! Names in statements.

/// The identifier in backticks, which every `sql_mode` takes: `` a`b `` becomes `` `a``b` ``.
pub fn quote(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtick_in_a_name_is_doubled() {
        assert_eq!(quote("order"), "`order`");
        assert_eq!(quote("a`b"), "`a``b`");
        assert_eq!(quote("设备"), "`设备`");
        assert_eq!(quote(""), "``");
    }
}
