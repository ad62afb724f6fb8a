//! JSON, geometry, VECTOR, and the types that MariaDB alone has.

use super::case::{Case, ON_MARIADB, ON_MYSQL};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = json();
    cases.extend(geometries());
    cases.push(
        Case::new("vector", "VECTOR(3)")
            .values([
                "STRING_TO_VECTOR('[1,2,3]')",
                "STRING_TO_VECTOR('[-0,1e-30,3.4e38]')",
                "STRING_TO_VECTOR('[0]')",
            ])
            .on(ON_MYSQL),
    );
    cases.extend(of_mariadb());
    cases
}

fn json() -> Vec<Case> {
    let nested = |depth: usize| format!("'{}1{}'", "[".repeat(depth), "]".repeat(depth));
    vec![
        Case::new("json", "JSON")
            .values(["'{}'", "'[]'", "'null'", "'true'", "'false'", r#"'""'"#, "'0'", "'-1'"])
            .values([r#"'{"a": [1, {"b": null}], "": "", "ü": "🚲", "k\\"": "\\\\ \\u0000 \\b\\f\\n\\r\\t / \\u001f"}'"#])
            .values(["'[32767, 32768, -32768, -32769, 65535, 65536]'"])
            .values(["'[2147483647, 2147483648, -2147483648, -2147483649, 4294967295, 4294967296]'"])
            .values(["'[9223372036854775807, 9223372036854775808, -9223372036854775808, 18446744073709551615]'"])
            .values([nested(30)]),
        Case::new("json_deep", "JSON").values([nested(99)]).on(ON_MYSQL),
        Case::new("json_double", "JSON")
            .values(["'[0.0, -0.0, 1.0, 0.1, 1.1, 100000.0, 0.001, 123456789.5]'", "'[1e15, 1e16, 1e17, 1e20, 1e21, 1e22, 1e-5, 1e-7]'"])
            .values(["'[1e100, 1e-100, 1.7976931348623157e308, 2.2250738585072014e-308, 5e-324]'"])
            .values(["'[18446744073709551616, 123456789012345678901234567890, 0.30000000000000004]'"])
            .on(ON_MYSQL),
        Case::new("json_large", "JSON")
            .values([r#"CONCAT('["', REPEAT('x', 70000), '", 70000, {"k": 4294967295}]')"#])
            .values([r#"CONCAT('{"', REPEAT('k', 60000), '": 1, "b": [1, 2147483648]}')"#])
            .values([r#"CONCAT('["', REPEAT('\\u00e9', 100), '"]')"#]),
        Case::new("json_temporal", "JSON")
            .values(["JSON_ARRAY(CAST('2020-01-02' AS DATE))", "JSON_ARRAY(CAST('-10:11:12.123456' AS TIME(6)))"])
            .values(["JSON_OBJECT('a', CAST('2020-01-02 03:04:05.000006' AS DATETIME(6)))", "JSON_ARRAY(CAST('10:00:00' AS TIME))"])
            .values(["JSON_ARRAY('2020-01-02', '10:00:00.000000')"])
            .on(ON_MYSQL)
            .pending("temporal values inside a document become strings"),
        Case::new("json_decimal", "JSON")
            .values(["JSON_ARRAY(1.5, 0.1, -0.001, 100.0)", "JSON_ARRAY(CAST(1 AS DECIMAL(5,2)))", "JSON_ARRAY(1.5e0)"])
            .on(ON_MYSQL)
            .pending("a DECIMAL inside a document becomes a DOUBLE"),
        Case::new("json_big_decimal", "JSON")
            .values(["JSON_ARRAY(12345678901234567890.123456789)", "JSON_ARRAY(99999999999999999999999999999999999999999999999999999999999999999)"])
            .on(ON_MYSQL)
            .pending("a DECIMAL of more than 15 digits inside a document stops the device"),
        Case::new("json_opaque", "JSON")
            .values(["JSON_ARRAY(X'00FF')", "CAST(b'101' AS JSON)", "JSON_OBJECT('b', CAST('x' AS BINARY))"])
            .on(ON_MYSQL)
            .pending("binary values inside a document stop the device"),
    ]
}

fn geometries() -> Vec<Case> {
    const SHAPES: [(&str, &[&str]); 7] = [
        ("POINT", &["POINT(1 2)", "POINT(-1.5e-300 1.7976931348623157e308)"]),
        ("LINESTRING", &["LINESTRING(0 0,1 1,2 0.1)"]),
        ("POLYGON", &["POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,2 1,2 2,1 2,1 1))"]),
        ("MULTIPOINT", &["MULTIPOINT(0 0,1 1)"]),
        ("MULTILINESTRING", &["MULTILINESTRING((0 0,1 1),(2 2,3 3))"]),
        ("MULTIPOLYGON", &["MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))"]),
        (
            "GEOMETRYCOLLECTION",
            &["GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))", "GEOMETRYCOLLECTION EMPTY"],
        ),
    ];
    let of = |text: &str, srid: u32| format!("ST_GeomFromText('{text}', {srid})");
    let mut cases: Vec<Case> = SHAPES
        .iter()
        .map(|(kind, texts)| {
            Case::new(kind.to_lowercase(), *kind)
                .values(texts.iter().map(|text| of(text, 0)))
                .values(
                    texts.iter().take(1).filter(|_| *kind != "POINT").map(|text| of(text, 4326)),
                )
        })
        .collect();
    let any = SHAPES.iter().flat_map(|(_, texts)| texts.iter().map(|text| of(text, 0)));
    cases.push(Case::new("geometry", "GEOMETRY").values(any).values([of("POINT(1 2)", 4326)]));
    cases.push(
        Case::new("point_srid", "POINT SRID 4326")
            .values([of("POINT(1 2)", 4326), of("POINT(-90 180)", 4326)])
            .on(ON_MYSQL),
    );
    cases
}

fn of_mariadb() -> Vec<Case> {
    const COMPRESSED: &str = "compressed columns stop the device";
    vec![
        Case::new("inet6", "INET6")
            .values(["'::'", "'::1'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.128'"])
            .values(["'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "'1::'"])
            .on(ON_MARIADB)
            .key()
            .pending("INET6 arrives as its bytes"),
        Case::new("inet4", "INET4")
            .values(["'0.0.0.0'", "'127.0.0.1'", "'255.255.255.255'", "'1.0.0.0'"])
            .on(ON_MARIADB)
            .key()
            .pending("INET4 arrives as its bytes"),
        Case::new("uuid", "UUID")
            .values([
                "'00000000-0000-0000-0000-000000000000'",
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            ])
            .values([
                "'123e4567-e89b-12d3-a456-426655440000'",
                "'6ccd780c-baba-1026-9564-5b8c65602400'",
            ])
            .on(ON_MARIADB)
            .key()
            .pending("UUID arrives as its bytes"),
        Case::new("varchar_compressed", "VARCHAR(1000) COMPRESSED CHARACTER SET utf8mb4")
            .values(["''", "'short'", "REPEAT('汉字', 400)"])
            .on(ON_MARIADB)
            .pending(COMPRESSED),
        Case::new("blob_compressed", "BLOB COMPRESSED")
            .values(["''", "'short'", "REPEAT(X'00FF', 2000)"])
            .on(ON_MARIADB)
            .pending(COMPRESSED),
    ]
}
