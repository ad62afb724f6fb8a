use super::*;
use crate::script::Script;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tributary_wire::{
    Batch, BatchBuilder, ColumnBuffer, ColumnShape, Header, Limits, Op, Position, Pushed, Resume,
    TableShape,
};

/// A change of a table with an integer key and an integer value.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert(i64, i64),
    Update(i64, i64),
    Rekey(i64, i64, i64),
    Delete(i64),
}

fn column(name: &str, kind: ColumnKind) -> ColumnShape {
    ColumnShape {
        name: name.into(),
        kind,
        unsigned: false,
        nullable: true,
        collation: 0,
        scale: 0,
        size: 0,
    }
}

fn shape(key: bool, kind: ColumnKind) -> Arc<TableShape> {
    let columns = vec![column("id", ColumnKind::Integer), column("v", kind)];
    let primary_key = if key { vec![0] } else { vec![] };
    Arc::new(TableShape { database: "app".into(), table: "t".into(), columns, primary_key })
}

fn batch(shape: &Arc<TableShape>, steps: &[Step]) -> Batch {
    let prev = Position::beginning(1);
    let header = Header {
        device: "d".parse().expect("valid"),
        run: 1,
        source: "s".into(),
        server: "9.7.0".into(),
        prev,
        end: prev,
        resume: Resume::default(),
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    };
    let mut builder = BatchBuilder::new(header, prev, 1 << 20);
    builder.begin(Position::boundary(1, 1, 4), 0);
    let index = builder.table(shape);
    for step in steps {
        let (op, before, image) = match *step {
            Step::Insert(id, v) => (Op::Insert, None, Some((id, v))),
            Step::Update(id, v) => (Op::Update, Some(id), Some((id, v))),
            Step::Rekey(old, id, v) => (Op::Update, Some(old), Some((id, v))),
            Step::Delete(id) => (Op::Delete, Some(id), None),
        };
        let pushed = builder.row(index, op, |columns| -> Result<(), ()> {
            if let Some((id, v)) = image {
                columns.images[0].push_int(id);
                columns.images[1].push_int(v);
            }
            let gone: &mut Vec<ColumnBuffer> =
                if op == Op::Delete { &mut columns.identities } else { &mut columns.before };
            if let Some(id) = before {
                gone[0].push_int(id);
                gone.iter_mut().skip(1).for_each(|column| column.push_int(0));
            }
            Ok(())
        });
        assert_eq!(pushed, Ok(Pushed::Taken));
    }
    builder.commit(Position::boundary(1, 1, 900), None);
    Batch::decode(&builder.seal().expect("seals").message, &Limits::default()).expect("decodes")
}

fn target(unique_secondary: bool, key: bool) -> TargetTable {
    let columns = ["id", "v"].map(|name| (name.to_owned(), TargetColumn::default()));
    let primary_key = if key { vec!["id".to_owned()] } else { vec![] };
    TargetTable { columns: columns.into(), primary_key, unique_secondary, ..TargetTable::default() }
}

fn work(batch: &Batch) -> TableWork<'_> {
    let mut work = TableWork::new(&batch.tables[0]);
    for run in batch.transactions.iter().flat_map(|transaction| &transaction.runs) {
        work.add(batch, &batch.tables[0], *run);
    }
    work
}

fn planned(
    batch: &Batch,
    target: &TargetTable,
    statement_bytes: usize,
) -> Result<String, PlanError> {
    let mut script = Script::default();
    let context = Context {
        owner: 0,
        database: "d__app",
        target,
        charsets: &Charsets::default(),
        pieces: "p",
        device_column: None,
        mariadb: false,
        statement_bytes,
        statement_bytes_max: 1000,
    };
    plan(&[&work(batch)], context, &mut script)?;
    let packets: Vec<String> = script
        .packets(1 << 20)
        .map(|packet| String::from_utf8_lossy(packet.sql).into_owned())
        .collect();
    Ok(packets.join(""))
}

#[test]
fn changes_of_one_key_fold_to_one_statement_each_way() {
    let batch = batch(
        &shape(true, ColumnKind::Integer),
        &[Step::Insert(1, 10), Step::Update(1, 11), Step::Rekey(2, 3, 30), Step::Delete(4)],
    );
    assert_eq!(
        planned(&batch, &target(false, true), 1000).expect("plans"),
        "DELETE FROM `d__app`.`t` WHERE (`id`) IN ((2),(4));\
         INSERT INTO `d__app`.`t` (`id`,`v`) VALUES (1,11),(3,30) ON DUPLICATE KEY UPDATE `v`=VALUES(`v`)"
    );
}

#[test]
fn with_a_second_unique_index_every_touched_key_is_deleted_first() {
    let batch =
        batch(&shape(true, ColumnKind::Integer), &[Step::Update(1, 11), Step::Rekey(2, 3, 30)]);
    assert_eq!(
        planned(&batch, &target(true, true), 1000).expect("plans"),
        "DELETE FROM `d__app`.`t` WHERE (`id`) IN ((1),(2),(3));\
         INSERT INTO `d__app`.`t` (`id`,`v`) VALUES (1,11),(3,30)"
    );
}

#[test]
fn without_a_key_every_change_is_made_as_it_stands() {
    let steps = [Step::Insert(1, 0), Step::Insert(1, 0), Step::Delete(1), Step::Rekey(1, 2, 5)];
    let batch = batch(&shape(false, ColumnKind::Integer), &steps);
    assert_eq!(
        planned(&batch, &target(false, false), 1000).expect("plans"),
        "INSERT INTO `d__app`.`t` (`id`,`v`) VALUES (1,0),(1,0);\
         DELETE FROM `d__app`.`t` WHERE `id`<=>1 AND `v`<=>0 LIMIT 1;\
         UPDATE `d__app`.`t` SET `id`=2,`v`=5 WHERE `id`<=>1 AND `v`<=>0 LIMIT 1"
    );
}

#[test]
fn rows_of_a_shared_table_say_whose_they_are() {
    let steps = [Step::Insert(1, 10), Step::Delete(4)];
    let keyed = batch(&shape(true, ColumnKind::Integer), &steps);
    let keyless = batch(&shape(false, ColumnKind::Integer), &steps);
    let mut shared = target(false, true);
    shared.primary_key.push("device".to_owned());
    let planned = |batch: &Batch, target: &TargetTable| {
        let charsets = Charsets::default();
        let context = Context {
            owner: 0,
            database: "app",
            target,
            charsets: &charsets,
            pieces: "p",
            device_column: Some("device"),
            mariadb: false,
            statement_bytes: 1000,
            statement_bytes_max: 1000,
        };
        let mut script = Script::default();
        plan(&[&work(batch), &work(batch)], context, &mut script)?;
        let packet = script.packets(1 << 20).next().expect("a packet");
        Ok::<_, PlanError>(String::from_utf8_lossy(packet.sql).into_owned())
    };
    // As of two devices: MariaDB reads the whole table for one row of several columns, so one goes twice.
    assert_eq!(
        planned(&keyed, &shared).expect("plans"),
        "DELETE FROM `app`.`t` WHERE (`device`,`id`) IN (('d',4),('d',4));\
         INSERT INTO `app`.`t` (`device`,`id`,`v`) VALUES ('d',1,10),('d',1,10) ON DUPLICATE KEY UPDATE `v`=VALUES(`v`)"
    );
    let sql = planned(&keyless, &target(false, false)).expect("plans");
    assert!(sql.contains("WHERE `device`='d' AND `id`<=>4"), "{sql}");
    // What is one row to the shared table may be two to the device.
    assert!(matches!(planned(&keyless, &shared), Err(PlanError::KeyDiffers { .. })));
}

#[test]
fn an_empty_enum_goes_past_the_strict_mode_alone() {
    let batch = batch(&shape(true, ColumnKind::Enum), &[Step::Insert(1, 1), Step::Insert(2, 0)]);
    let sql = planned(&batch, &target(false, true), 1000).expect("plans");
    let statements: Vec<&str> = sql.split(';').collect();
    assert_eq!(statements.len(), 5, "{sql}");
    assert!(statements[0].starts_with("DELETE") && statements[0].contains("((2))"), "{sql}");
    assert!(statements[1].contains("VALUES (1,1) ON DUPLICATE"), "{sql}");
    assert!(!statements[2].contains("STRICT") && statements[4].contains("STRICT"), "{sql}");
    assert!(statements[3].ends_with("VALUES (2,0)"), "{sql}");
}

#[test]
fn long_statements_are_split_and_a_row_that_is_too_long_is_refused() {
    let steps: Vec<Step> = (0..50).map(|id| Step::Insert(id, 7)).collect();
    let batch = batch(&shape(true, ColumnKind::Integer), &steps);
    let sql = planned(&batch, &target(false, true), 200).expect("plans");
    let statements: Vec<&str> = sql.split(';').collect();
    assert!(statements.len() > 2 && statements.iter().all(|s| s.len() <= 200), "{sql}");
    let mut script = Script::default();
    let context = Context {
        owner: 0,
        database: "d__app",
        target: &target(false, true),
        charsets: &Charsets::default(),
        pieces: "p",
        device_column: None,
        mariadb: false,
        statement_bytes: 50,
        statement_bytes_max: 50,
    };
    let error = plan(&[&work(&batch)], context, &mut script).expect_err("refused");
    assert!(matches!(error, PlanError::RowTooLarge { bytes_max: 50, .. }), "{error}");
    assert!(error.remedy().contains("max_allowed_packet"));
}

#[test]
fn a_missing_column_and_another_key_are_named() {
    let batch = batch(&shape(true, ColumnKind::Integer), &[Step::Insert(1, 1)]);
    let mut lacking = target(false, true);
    lacking.columns.remove("v");
    let error = planned(&batch, &lacking, 1000).expect_err("refused").to_string();
    assert_eq!(error, "column v of table d__app.t does not exist at the target");
    let error = planned(&batch, &target(false, false), 1000).expect_err("refused").to_string();
    assert!(error.contains("primary key (id) at the device and () at the target"), "{error}");
}

/// What the net effects make of a table, deletes first, as the statements run.
fn apply_net(table: &mut BTreeMap<i64, i64>, batch: &Batch) {
    let work = work(batch);
    let Changes::Keyed(fold) = &work.changes else { panic!("the table has a key") };
    let number = |cell: Option<Cell>| match cell {
        Some(Cell::Int(value)) => value,
        other => panic!("{other:?} is no number"),
    };
    for effect in fold.effects() {
        if let Net::Delete(key) = effect {
            table.remove(&number(key.cell(0, 0)));
        }
    }
    for effect in fold.effects() {
        if let Net::Upsert(row) = effect {
            table.insert(number(row.image(0)), number(row.image(1)));
        }
    }
}

proptest! {
    #[test]
    fn the_net_effect_is_that_of_the_changes_one_by_one(
        start in prop::collection::btree_map(0i64..8, 0i64..100, 0..8),
        wishes in prop::collection::vec((0u8..4, 0i64..8, 0i64..8, 0i64..100), 1..60),
    ) {
        let mut model = start.clone();
        let mut steps = Vec::new();
        for (sort, a, b, v) in wishes {
            // Only what a source could have done.
            match sort {
                0 if !model.contains_key(&a) => {
                    model.insert(a, v);
                    steps.push(Step::Insert(a, v));
                }
                1 if model.contains_key(&a) => {
                    model.insert(a, v);
                    steps.push(Step::Update(a, v));
                }
                2 if model.contains_key(&a) && a != b && !model.contains_key(&b) => {
                    model.remove(&a);
                    model.insert(b, v);
                    steps.push(Step::Rekey(a, b, v));
                }
                3 if model.remove(&a).is_some() => steps.push(Step::Delete(a)),
                _ => {}
            }
        }
        if !steps.is_empty() {
            let mut table = start;
            apply_net(&mut table, &batch(&shape(true, ColumnKind::Integer), &steps));
            prop_assert_eq!(table, model);
        }
    }
}

#[test]
fn a_set_beyond_what_a_double_holds_is_found_as_an_integer() {
    for (value, name) in [((1 << 53) - 1, "`id`"), (1 << 53, "CAST(`id` AS UNSIGNED)")] {
        for (key, found) in [(true, format!("WHERE ({name}) IN (")), (false, format!("{name}<=>"))]
        {
            let mut shape = (*shape(key, ColumnKind::Integer)).clone();
            shape.columns[0].kind = ColumnKind::Set;
            let batch = batch(&Arc::new(shape), &[Step::Delete(value)]);
            let sql = planned(&batch, &target(false, key), 500).expect("plans");
            assert!(sql.contains(&found), "{sql}");
        }
    }
}
