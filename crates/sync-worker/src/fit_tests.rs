use super::*;

/// `latin1` is 8, `utf8mb4` 45, `gbk` 28, `utf8mb3` 33, `ascii` 11.
fn charsets() -> Charsets {
    let rows = [
        (8, "latin1_swedish_ci", "latin1"),
        (11, "ascii_general_ci", "ascii"),
        (28, "gbk_chinese_ci", "gbk"),
        (33, "utf8mb3_general_ci", "utf8mb3"),
        (45, "utf8mb4_general_ci", "utf8mb4"),
    ];
    Charsets::new(rows.map(|(id, name, set)| (id, name.to_owned(), set.to_owned())))
}

fn column(kind: ColumnKind, scale: u16, size: u32) -> ColumnShape {
    let name = "c".to_owned();
    ColumnShape { name, kind, unsigned: false, nullable: true, collation: 0, scale, size }
}

fn unsigned(kind: ColumnKind, scale: u16, size: u32) -> ColumnShape {
    ColumnShape { unsigned: true, ..column(kind, scale, size) }
}

fn text(collation: u16, scale: u16, size: u32) -> ColumnShape {
    ColumnShape { collation, ..column(ColumnKind::Text, scale, size) }
}

fn target(column_type: &str, charset: Option<&str>, octets: u64) -> TargetColumn {
    TargetColumn {
        data: Some(Type::read(column_type)),
        charset: charset.map(str::to_owned),
        octets,
        ..TargetColumn::default()
    }
}

fn fits(column: &ColumnShape, column_type: &str) -> bool {
    holds(column, &target(column_type, None, 0), &charsets(), false)
}

#[test]
fn a_target_that_would_bend_a_number_or_a_time_does_not_hold_it() {
    use ColumnKind as K;
    for (column, right, wrong) in [
        (
            column(K::Integer, 0, 4),
            &["int", "int(11)", "bigint(20)"][..],
            &[
                "mediumint",
                "int(10) unsigned",
                "bigint unsigned",
                "double",
                "decimal(20,0)",
                "varchar(20)",
                "bit(64)",
            ][..],
        ),
        (
            unsigned(K::Integer, 0, 4),
            &["int unsigned", "int(10) unsigned zerofill", "bigint", "bigint unsigned"],
            &["int", "mediumint unsigned"],
        ),
        (unsigned(K::Integer, 0, 8), &["bigint unsigned"], &["bigint"]),
        (
            column(K::Integer, 0, 1),
            &["tinyint(1)", "tinyint(4)"],
            &["bit(1)", "tinyint(1) unsigned"],
        ),
        (
            column(K::Decimal, 2, 10),
            &["decimal(10,2)", "decimal(11,3)", "decimal(12,2)"],
            &["decimal(10,3)", "decimal(10,1)", "decimal(9,2)", "decimal(10,2) unsigned", "double"],
        ),
        (
            column(K::Float, 0, 0),
            &["float", "float(8,2)", "double"],
            &["float unsigned", "int", "decimal(10,2)"],
        ),
        (column(K::Double, 0, 0), &["double", "double(8,2)"], &["float"]),
        (column(K::Bit, 12, 0), &["bit(12)", "bit(64)"], &["bit(11)", "int"]),
        (column(K::Year, 0, 0), &["year", "year(4)"], &["int", "date"]),
        (column(K::Date, 0, 0), &["date"], &["datetime", "timestamp", "time"]),
        (column(K::Time, 3, 0), &["time(3)", "time(6)"], &["time", "time(2)", "datetime(3)"]),
        (
            column(K::DateTime, 0, 0),
            &["datetime", "datetime(6)"],
            &["date", "timestamp", "varchar(30)"],
        ),
        (column(K::DateTime, 6, 0), &["datetime(6)"], &["datetime", "datetime(5)", "timestamp(6)"]),
        (column(K::Timestamp, 2, 0), &["timestamp(2)"], &["timestamp", "datetime(2)"]),
        (
            column(K::Enum, 0, 2),
            &["enum('a','b')", "enum('a','b','c')"],
            &["enum('a')", "set('a','b')", "varchar(3)"],
        ),
        (column(K::Set, 0, 2), &["set('a','b')"], &["set('a')", "enum('a','b')"]),
        (column(K::Json, 0, 0), &["json", "longtext"], &["text", "varchar(100)", "longblob"]),
        (
            column(K::Geometry, 0, 0),
            &["geometry", "point", "geomcollection"],
            &["longblob", "json"],
        ),
        (column(K::Vector, 0, 0), &["vector(3)"], &["longblob"]),
        (
            column(K::Binary, 16, 16),
            &["uuid", "inet6", "binary(16)"],
            &["binary(17)", "inet4", "char(16)"],
        ),
        (column(K::Binary, 4, 4), &["inet4", "binary(4)"], &["inet6", "uuid"]),
    ] {
        for of in right {
            assert!(fits(&column, of), "{column:?} in {of}");
        }
        for of in wrong {
            assert!(!fits(&column, of), "{column:?} in {of}");
        }
    }
}

#[test]
fn text_fits_by_its_length_its_characters_and_the_spaces_at_its_end() {
    let charsets = charsets();
    let fits = |column: &ColumnShape, of: &str, charset: &str, octets: u64| {
        holds(column, &target(of, Some(charset), octets), &charsets, false)
    };
    let varchar = text(45, 0, 40);
    assert!(fits(&varchar, "varchar(10)", "utf8mb4", 40));
    assert!(fits(&varchar, "longtext", "utf8mb4", u64::from(u32::MAX)));
    assert!(!fits(&varchar, "varchar(9)", "utf8mb4", 36));
    assert!(!fits(&varchar, "char(10)", "utf8mb4", 40), "spaces at the end");
    assert!(!fits(&varchar, "varchar(40)", "latin1", 40), "characters that are not there");
    assert!(!fits(&varchar, "varchar(10)", "utf8mb3", 30));
    assert!(!fits(&varchar, "varbinary(40)", "binary", 40));
    let char = text(45, 40, 40);
    assert!(fits(&char, "char(10)", "utf8mb4", 40) && fits(&char, "varchar(10)", "utf8mb4", 40));
    let gbk = text(28, 0, 20);
    assert!(fits(&gbk, "varchar(10)", "gbk", 20) && fits(&gbk, "varchar(10)", "utf8mb4", 40));
    assert!(fits(&gbk, "varchar(10)", "utf8", 30) && !fits(&gbk, "varchar(9)", "utf8mb4", 36));
    let utf8 = text(33, 0, 30);
    assert!(fits(&utf8, "varchar(10)", "utf8", 30) && fits(&utf8, "varchar(10)", "utf8mb3", 30));
    assert!(fits(&text(11, 0, 5), "varchar(5)", "latin1", 5));
    assert!(!fits(&text(45, 0, u32::from(u16::MAX)), "tinytext", "utf8mb4", 255));
}

#[test]
fn a_binary_is_as_wide_as_it_was() {
    let fits = |column: &ColumnShape, of: &str, octets: u64| {
        holds(column, &target(of, None, octets), &charsets(), false)
    };
    let fixed = column(ColumnKind::Binary, 8, 8);
    assert!(
        fits(&fixed, "binary(8)", 8)
            && fits(&fixed, "varbinary(8)", 8)
            && fits(&fixed, "blob", 65535)
    );
    assert!(!fits(&fixed, "binary(9)", 9) && !fits(&fixed, "varbinary(7)", 7));
    let free = column(ColumnKind::Binary, 0, 8);
    assert!(fits(&free, "varbinary(8)", 8) && !fits(&free, "binary(8)", 8));
    assert!(!fits(&free, "tinytext", 255));
}

#[test]
fn what_nobody_tells_is_no_difference() {
    use ColumnKind as K;
    // Batches of a publisher that does not tell sizes, and a type that is not known here.
    assert!(fits(&column(K::Integer, 0, 0), "tinyint"));
    assert!(fits(&column(K::Decimal, 2, 0), "decimal(4,2)"));
    assert!(fits(&column(K::Enum, 0, 0), "enum('a')"));
    assert!(fits(&text(45, 0, 0), "varchar(1)"));
    assert!(fits(&column(K::Binary, 0, 8), "xmltype"));
    let unknown = TargetColumn::default();
    assert!(holds(&column(K::DateTime, 6, 0), &unknown, &charsets(), false));
}

#[test]
fn a_shared_text_column_may_say_numbers_and_dates() {
    use ColumnKind as K;
    for kind in [K::Integer, K::Decimal, K::Date, K::Time, K::DateTime] {
        let target = target("varchar(100)", Some("utf8mb4"), 400);
        assert!(holds(&column(kind, 0, 4), &target, &charsets(), true), "{kind:?}");
        assert!(!holds(&column(kind, 0, 4), &target, &charsets(), false), "{kind:?}");
    }
}
