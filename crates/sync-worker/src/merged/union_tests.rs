use super::*;

fn column(name: &str, text: &str) -> Column {
    let collation = matches!(Type::read(text), Type::Char { .. } | Type::Text(_))
        .then(|| ("utf8mb4".to_owned(), "utf8mb4_general_ci".to_owned()));
    let data = Type::read(text);
    Column { name: name.into(), text: text.into(), data, collation, generated: None, mixed: false }
}

fn table(columns: &[(&str, &str)], key: Key) -> Shape {
    let columns = columns.iter().map(|(name, text)| column(name, text)).collect();
    Shape { columns, key, indexes: Vec::new() }
}

fn by(column: &str) -> Key {
    Key::Primary(vec![(column.to_owned(), None)])
}

/// The shared table that holds `own`.
fn shared(own: &Shape) -> Shape {
    let mut columns = vec![column("device_id", "varchar(40)")];
    columns.extend(own.columns.clone());
    let key = match &own.key {
        Key::Primary(parts) => {
            let device = ("device_id".to_owned(), None);
            Key::Primary([&[device], &parts[..]].concat())
        }
        key => key.clone(),
    };
    Shape { columns, key, indexes: own.indexes.clone() }
}

const PLACE: Place<'_> = Place { database: "app", table: "t", device_column: "device_id" };

#[test]
fn the_first_device_makes_the_table_and_the_second_finds_it() {
    let own = table(&[("id", "int"), ("v", "varchar(9)")], by("id"));
    let steps = steps(PLACE, &own, None).expect("steps");
    let sql = steps.table.expect("a statement");
    assert!(sql.starts_with("CREATE TABLE `app`.`t` (`device_id` VARCHAR(40) "), "{sql}");
    assert!(sql.contains("`id` int NOT NULL, `v` varchar(9) CHARACTER SET"), "{sql}");
    assert!(sql.contains("PRIMARY KEY (`device_id`,`id`)"), "{sql}");
    assert_eq!(super::steps(PLACE, &own, Some(&shared(&own))), Ok(Steps::default()));
}

#[test]
fn the_table_takes_in_what_it_lacks_and_keeps_what_only_others_have() {
    let first = table(&[("id", "int"), ("v", "varchar(9)"), ("old", "int")], by("id"));
    let second = table(&[("id", "bigint"), ("v", "varchar(5)"), ("new", "date")], by("id"));
    let steps = steps(PLACE, &second, Some(&shared(&first))).expect("steps");
    assert_eq!(
        steps.table.as_deref(),
        Some(
            "ALTER TABLE `app`.`t` MODIFY COLUMN `id` bigint NOT NULL, ADD COLUMN `new` date NULL DEFAULT NULL"
        )
    );
}

#[test]
fn what_others_are_computed_of_keeps_its_type_or_parks() {
    let with = |text: &str| {
        let mut own = table(&[("id", "int"), ("n", text), ("g", "varchar(20)")], by("id"));
        own.columns[2].generated = Some("(concat('R',`n`)) STORED".to_owned());
        own
    };
    let (first, wider) = (with("decimal(10,2)"), with("decimal(12,4)"));
    assert_eq!(steps(PLACE, &first, Some(&shared(&first))), Ok(Steps::default()));
    let parked = steps(PLACE, &wider, Some(&shared(&first))).expect_err("g would change");
    assert!(parked.reason.contains("column n of table app.t"), "{}", parked.reason);
    let padded = steps(PLACE, &with("int(5) unsigned zerofill"), None);
    assert!(padded.expect_err("its zeros are lost").reason.contains("column g"));
}

#[test]
fn a_unique_index_becomes_a_plain_one_of_the_device() {
    let unique = Index::new("u", &["v"], true);
    let plain = Index::new("p", &["v"], false);
    let mut own = table(&[("id", "int"), ("v", "int")], by("id"));
    own.indexes = vec![unique.clone(), plain];
    let steps = steps(PLACE, &own, None).expect("steps");
    assert_eq!(
        steps.indexes,
        [
            "ALTER TABLE `app`.`t` ADD INDEX `u` (`device_id`,`v`)",
            "ALTER TABLE `app`.`t` ADD INDEX `p` (`v`)"
        ]
    );
}

#[test]
fn a_conflict_names_the_column_and_both_types() {
    let first = table(&[("id", "int"), ("v", "int")], by("id"));
    let second = table(&[("id", "int"), ("v", "varchar(5)")], by("id"));
    let parked = steps(PLACE, &second, Some(&shared(&first))).expect_err("a conflict");
    assert_eq!(
        parked.reason,
        "column v of table app.t is varchar(5) collate utf8mb4_general_ci at the device and int at the devices that came before"
    );
    assert!(parked.remedy.contains("LONGTEXT"), "{}", parked.remedy);
    // Once someone has followed the remedy it holds both.
    let mut mended = shared(&table(&[("id", "int"), ("v", "longtext")], by("id")));
    assert!(steps(PLACE, &first, Some(&mended)).is_err());
    mended.columns[2].mixed = true;
    for own in [&first, &second] {
        assert_eq!(steps(PLACE, own, Some(&mended)), Ok(Steps::default()));
    }
}

#[test]
fn a_text_holds_no_numbers_where_they_have_to_be_found() {
    let mut mended = shared(&table(&[("id", "int"), ("v", "longtext")], Key::None));
    mended.columns[2].mixed = true;
    let own = table(&[("id", "int"), ("v", "int")], Key::None);
    assert!(steps(PLACE, &own, Some(&mended)).is_err());
    let mut mended = shared(&table(&[("id", "varchar(9)")], by("id")));
    mended.columns[1].mixed = true;
    assert!(steps(PLACE, &table(&[("id", "int")], by("id")), Some(&mended)).is_err());
}

#[test]
fn another_key_and_a_table_of_someone_else_are_refused() {
    let own = table(&[("id", "int"), ("v", "int")], by("id"));
    let other = table(&[("id", "int"), ("v", "int")], by("v"));
    let parked = steps(PLACE, &other, Some(&shared(&own))).expect_err("a conflict");
    assert!(parked.reason.contains("primary key (v) at the device"), "{}", parked.reason);
    assert!(steps(PLACE, &table(&[("id", "int")], Key::None), Some(&shared(&own))).is_err());
    let parked = steps(PLACE, &own, Some(&own)).expect_err("a conflict");
    assert!(parked.reason.contains("none of the merged layout's"), "{}", parked.reason);
    let taken = table(&[("id", "int"), ("Device_ID", "int")], by("id"));
    assert!(steps(PLACE, &taken, None).expect_err("taken").reason.contains("Device_ID"));
}

#[test]
fn text_of_two_character_sets_is_held_by_the_one_of_both() {
    let mut latin = table(&[("id", "int"), ("v", "text")], by("id"));
    latin.columns[1].collation = Some(("latin1".into(), "latin1_swedish_ci".into()));
    let own = table(&[("id", "int"), ("v", "varchar(5)")], by("id"));
    let steps = steps(PLACE, &own, Some(&shared(&latin))).expect("steps");
    let wanted = "MODIFY COLUMN `v` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL";
    assert!(steps.table.expect("an ALTER").contains(wanted));
    // Without a key all bytes tell rows apart, and with one its collation does.
    latin.key = Key::None;
    let keyless = table(&[("id", "int"), ("v", "text")], Key::None);
    assert!(super::steps(PLACE, &keyless, Some(&shared(&latin))).is_err());
    latin.key = by("v");
    let keyed = table(&[("id", "int"), ("v", "text")], by("v"));
    assert!(super::steps(PLACE, &keyed, Some(&shared(&latin))).is_err());
}
