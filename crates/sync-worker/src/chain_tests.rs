use super::*;
use proptest::prelude::*;
use tributary_wire::{Op, Resume};

/// A source's log: transactions of so many changes each, at growing offsets.
fn log(sizes: &[u64]) -> Vec<Transaction> {
    let mut offset = 4;
    sizes
        .iter()
        .map(|&count| {
            let start = Position::boundary(1, 1, offset);
            offset += 100 + count;
            let run = rows(count);
            let end = Position::boundary(1, 1, offset);
            Transaction { start, end, commit_time_us: 0, runs: vec![run] }
        })
        .collect()
}

fn rows(count: u64) -> Run {
    let count = u32::try_from(count).expect("small");
    Run::Rows { table: 0, op: Op::Insert, image: 0, identity: 0, count, acts: false }
}

fn header(prev: Position, end: Position) -> Header {
    Header {
        device: "d".parse().expect("valid"),
        run: 1,
        source: "s".into(),
        server: "9.7.0".into(),
        prev,
        end,
        resume: Resume::default(),
        commit_time_first_us: 0,
        commit_time_last_us: 0,
    }
}

/// All places between two changes of the log, in order, beginning included.
fn places(log: &[Transaction]) -> Vec<Position> {
    let inside = log.iter().flat_map(|t| {
        let changes = t.changes();
        (1..=changes).map(move |i| if i == changes { t.end } else { t.start.inside(i) })
    });
    std::iter::once(Position::beginning(1)).chain(inside).collect()
}

/// The batch that holds the changes between two of the log's places.
fn slice(log: &[Transaction], prev: Position, end: Position) -> (Header, Vec<Transaction>) {
    let mut cut = Vec::new();
    for t in log.iter().filter(|t| t.end > prev && t.start < end) {
        let from = if prev > t.start { prev.changes() } else { 0 };
        let whole = end >= t.end;
        let to = if whole { t.changes() } else { end.changes() };
        if to > from {
            let stop = if whole { t.end } else { t.start.inside(to) };
            let (start, runs) = (t.start.inside(from), vec![rows(to - from)]);
            cut.push(Transaction { start, end: stop, commit_time_us: 0, runs });
        }
    }
    (header(prev, end), cut)
}

/// Applies a batch to a target, which is the list of positions at which a change was applied.
fn apply(
    target: &mut Vec<Position>,
    watermark: &mut Option<Position>,
    batch: &(Header, Vec<Transaction>),
) {
    let Verdict::Apply(cut) = judge(*watermark, &batch.0, &batch.1, 0) else { return };
    for step in steps(&batch.1, cut) {
        for i in 0..step.run.changes() {
            let at = if i == 0 { step.before } else { step.before.advance(i) };
            target.push(at);
        }
    }
    *watermark = Some(batch.0.end);
}

fn source(log: &[Transaction]) -> Vec<Position> {
    log.iter().flat_map(|t| (0..t.changes()).map(|i| t.start.inside(i))).collect()
}

#[test]
fn a_batch_behind_the_watermark_is_a_duplicate() {
    let log = log(&[3, 2]);
    let (h, t) = slice(&log, Position::beginning(1), log[0].end);
    assert_eq!(judge(Some(log[0].end), &h, &t, 0), Verdict::Duplicate);
    assert_eq!(judge(Some(log[1].end), &h, &t, 0), Verdict::Duplicate);
}

#[test]
fn a_batch_beyond_the_watermark_is_a_gap() {
    let log = log(&[3, 2]);
    let (h, t) = slice(&log, log[0].end, log[1].end);
    assert_eq!(judge(Some(log[0].start.inside(2)), &h, &t, 0), Verdict::Gap);
}

#[test]
fn an_unknown_device_begins_at_its_beginning_and_nowhere_else() {
    let log = log(&[3, 2]);
    let (h, t) = slice(&log, Position::beginning(1), log[0].end);
    assert_eq!(judge(None, &h, &t, 0), Verdict::Apply(Cut { transaction: 0, skip: 0 }));
    let (h, t) = slice(&log, log[0].end, log[1].end);
    assert_eq!(judge(None, &h, &t, 0), Verdict::Gap);
    let (h, t) = (header(Position::beginning(2), Position::boundary(2, 1, 500)), Vec::new());
    assert_eq!(judge(None, &h, &t, 0), Verdict::Gap);
}

#[test]
fn a_mark_moves_the_watermark_with_nothing_to_apply() {
    let (h, t) = (header(Position::boundary(1, 1, 4), Position::boundary(1, 2, 4)), Vec::new());
    let verdict = judge(Some(Position::boundary(1, 1, 4)), &h, &t, 0);
    assert_eq!(verdict, Verdict::Apply(Cut { transaction: 0, skip: 0 }));
}

#[test]
fn an_overlap_inside_a_transaction_skips_the_changes_that_are_applied() {
    let log = log(&[5]);
    let (h, t) = slice(&log, log[0].start.inside(1), log[0].end);
    let at = log[0].start.inside(3);
    assert_eq!(judge(Some(at), &h, &t, 0), Verdict::Apply(Cut { transaction: 0, skip: 2 }));
    let left: Vec<Step> = steps(&t, Cut { transaction: 0, skip: 2 }).collect();
    assert_eq!((left[0].before, left[0].after), (at, log[0].end));
    assert_eq!(left[0].run.changes(), 2);
}

#[test]
fn a_watermark_inside_a_transaction_of_another_log_is_a_mismatch() {
    let log = log(&[5]);
    let (h, t) = slice(&log, Position::beginning(1), log[0].end);
    // Inside the transaction's bytes, but at none of its changes.
    let elsewhere = Position::boundary(1, 1, log[0].start.offset + 7);
    assert_eq!(judge(Some(elsewhere), &h, &t, 0), Verdict::Mismatch);
    // More changes of the transaction than it has.
    assert_eq!(judge(Some(log[0].start.inside(6)), &h, &t, 0), Verdict::Mismatch);
    // The piece begins after the watermark's part, although its batch claims to begin before it.
    let mut piece = t.clone();
    piece[0].start = log[0].start.inside(2);
    piece[0].runs = vec![rows(3)];
    assert_eq!(
        judge(Some(log[0].start.inside(1)), &h, &piece, 0),
        Verdict::Apply(Cut { transaction: 0, skip: 0 })
    );
}

proptest! {
    #[test]
    fn any_batches_in_any_order_apply_a_prefix_of_the_source_exactly_once(
        sizes in prop::collection::vec(1u64..6, 1..8),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..60),
    ) {
        let log = log(&sizes);
        let places = places(&log);
        let (mut target, mut watermark) = (Vec::new(), None);
        for (a, b) in picks {
            let (a, b) = (a.index(places.len()), b.index(places.len()));
            if a == b { continue }
            let batch = slice(&log, places[a.min(b)], places[a.max(b)]);
            apply(&mut target, &mut watermark, &batch);
            let wanted = source(&log);
            prop_assert_eq!(&target[..], &wanted[..target.len()]);
            let reached = watermark.map_or(0, |w| places.iter().filter(|p| **p <= w).count() - 1);
            prop_assert_eq!(reached, target.len());
        }
        // Whatever happened before: the whole log, published once more, completes it.
        apply(&mut target, &mut watermark, &slice(&log, places[0], places[places.len() - 1]));
        prop_assert_eq!(target, source(&log));
    }

    #[test]
    fn a_chain_cut_anywhere_with_repeats_equals_the_source(
        sizes in prop::collection::vec(1u64..9, 1..8),
        cuts in prop::collection::btree_set(1usize..40, 0..12),
        back in prop::collection::vec(0usize..5, 40),
    ) {
        let log = log(&sizes);
        let places = places(&log);
        let last = places.len() - 1;
        let mut bounds: Vec<usize> = cuts.into_iter().filter(|c| *c < last).collect();
        bounds.insert(0, 0);
        bounds.push(last);
        let (mut target, mut watermark) = (Vec::new(), None);
        for (i, pair) in bounds.windows(2).enumerate() {
            // Each batch begins a few changes early, as after a restart of its publisher.
            let from = pair[0].saturating_sub(back[i % back.len()]);
            let batch = slice(&log, places[from], places[pair[1]]);
            apply(&mut target, &mut watermark, &batch);
            apply(&mut target, &mut watermark, &batch);
        }
        prop_assert_eq!(target, source(&log));
    }
}
