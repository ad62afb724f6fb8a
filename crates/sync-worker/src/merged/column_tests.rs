use super::*;
use proptest::prelude::*;

fn join(a: &str, b: &str) -> Option<String> {
    Type::read(a).join(&Type::read(b)).map(|joined| joined.sql())
}

#[test]
fn what_is_wider_holds_both() {
    for (a, b, both) in [
        ("int", "bigint", "bigint"),
        ("int(11)", "int", "int"),
        ("int unsigned", "int", "bigint"),
        ("tinyint(1)", "smallint(5) unsigned zerofill", "mediumint"),
        ("varchar(10)", "varchar(20)", "varchar(20)"),
        ("char(10)", "varchar(5)", "varchar(10)"),
        ("varchar(10)", "tinytext", "text"),
        ("text", "longtext", "longtext"),
        ("binary(4)", "binary(8)", "varbinary(8)"),
        ("varbinary(300)", "tinyblob", "blob"),
        ("decimal(10,2)", "decimal(8,4)", "decimal(12,4)"),
        ("decimal(10,2) unsigned", "decimal(10,2)", "decimal(10,2)"),
        ("datetime", "datetime(6)", "datetime(6)"),
        ("enum('a','b')", "enum('a','b','c')", "enum('a','b','c')"),
        ("set('x')", "set('x','it''s, y')", "set('x','it''s, y')"),
        ("set('/* x */','y')", "set('/* x */')", "set('/* x */','y')"),
        ("bit(3)", "bit(9)", "bit(9)"),
        ("text /*M!100301 COMPRESSED*/", "text", "text"),
    ] {
        assert_eq!(join(a, b).as_deref(), Some(both), "{a} and {b}");
        assert_eq!(join(b, a).as_deref(), Some(both), "{b} and {a}");
    }
}

#[test]
fn what_nothing_holds_for_certain_is_a_conflict() {
    for (a, b) in [
        ("int", "varchar(10)"),
        ("bigint unsigned", "int"),
        ("float", "double"),
        ("datetime", "timestamp"),
        ("enum('a','b')", "enum('a','c')"),
        ("enum('a')", "set('a')"),
        ("text", "blob"),
        ("json", "longtext"),
        ("decimal(65,0)", "decimal(30,30)"),
        ("point", "geometry"),
    ] {
        assert_eq!(join(a, b), None, "{a} and {b}");
    }
}

proptest! {
    /// A shared column that was widened for a second device holds the first one's values, and is not
    /// widened again for either.
    #[test]
    fn a_join_holds_both(a in 0..TYPES.len(), b in 0..TYPES.len()) {
        let (a, b) = (Type::read(TYPES[a]), Type::read(TYPES[b]));
        prop_assert_eq!(a.join(&b), b.join(&a));
        if let Some(both) = a.join(&b) {
            prop_assert_eq!(both.join(&a), Some(both.clone()));
            prop_assert_eq!(both.join(&b), Some(both.clone()));
            prop_assert_eq!(Type::read(&both.sql()), both);
        }
    }
}

const TYPES: [&str; 22] = [
    "tinyint",
    "int",
    "int unsigned",
    "bigint",
    "bigint unsigned",
    "decimal(10,2)",
    "decimal(12,4) unsigned",
    "char(4)",
    "varchar(9)",
    "tinytext",
    "longtext",
    "binary(4)",
    "varbinary(9)",
    "tinyblob",
    "blob",
    "time(3)",
    "time",
    "year",
    "enum('a')",
    "enum('a','b')",
    "set('a')",
    "json",
];
