//! Rows in memory, on their way to files, and in files.

use std::fs;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray, ListArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use tempfile::TempDir;

use super::*;
use crate::delta::{Delta, Instants, Weights, append_column};
use crate::planner::relation::LATE;
use crate::storage::{StateReader, StateWriter};

/// Rows of all kinds of columns that Parquet has, and one of those that it has not.
fn rows(values: &[i64]) -> RecordBatch {
    let spans = values.iter().map(|v| IntervalMonthDayNano::new(1, 2, *v));
    let spans = IntervalMonthDayNanoArray::from_iter_values(spans);
    let mut lists = arrow::array::ListBuilder::new(IntervalMonthDayNanoArray::builder(0));
    for value in values {
        lists.append_value([Some(IntervalMonthDayNano::new(0, 0, *value)), None]);
    }
    let lists: ListArray = lists.finish();
    let texts: StringArray = values.iter().map(|v| (v % 2 == 0).then(|| v.to_string())).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("v", Arc::new(Int64Array::from(values.to_vec()))),
        ("text", Arc::new(texts)),
        ("span", Arc::new(spans)),
        ("spans", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// Rows of one commit, each at the time of its value.
fn arrival(values: &[i64], at: i64) -> Retained {
    let times = Instants::Each(values.to_vec().into());
    Retained::new(Delta::new(rows(values), times, Weights::Ones), Timestamp(at))
}

/// The same with a late row.
fn arrival_with_late(values: &[i64], late: i64, at: i64) -> Retained {
    let watermark = Arc::new(Int64Array::from(vec![late + 5]));
    let late = append_column(&rows(&[late]), LATE, watermark).unwrap();
    let late = Delta::inserts(late, Timestamp(at));
    arrival(values, at).with_late(Some(late), Timestamp(at))
}

fn history(retention: Retention, keeper: Option<&Arc<Keeper>>) -> History {
    let mut history = History::new(rows(&[]).schema(), retention);
    if let Some(keeper) = keeper {
        history.keep_in_files(keeper, 7);
    }
    history
}

/// What readers see, with times and late rows.
fn shown(history: &History) -> Vec<String> {
    let mut lines = Vec::new();
    for part in history.parts() {
        for run in part.read().unwrap().iter() {
            let all = run.and_late(0).unwrap().by_arrival().unwrap();
            let columns = all.rows().columns();
            let spans = columns[2].as_primitive::<IntervalMonthDayNanoType>();
            for i in 0..all.len() {
                let list = columns[3].as_list::<i32>().value(i);
                let item = list.as_primitive::<IntervalMonthDayNanoType>().value(0);
                assert_eq!(item.nanoseconds, spans.value(i).nanoseconds);
                let late = columns[4].as_primitive_opt::<Int64Type>();
                let late = late.filter(|late| late.is_valid(i)).map(|late| late.value(i));
                lines.push(format!("{:?} {late:?} {}", spans.value(i), all.ts_at(i).0));
            }
        }
    }
    lines
}

fn files(dir: &TempDir) -> usize {
    fs::read_dir(dir.path()).unwrap().count()
}

#[test]
fn rows_are_the_same_in_memory_and_in_files() {
    let dir = TempDir::new().unwrap();
    let keeper = Keeper::start(dir.path(), 3).unwrap();
    let mut memory = history(Retention::Forever, None);
    let mut stored = history(Retention::Forever, Some(&keeper));
    for i in 0..10 {
        let arrived = arrival(&[2 * i, 2 * i + 1], 100 + i);
        memory.push(arrived.clone()).unwrap();
        stored.push(arrived).unwrap();
    }
    keeper.drain();
    assert_eq!(shown(&stored), shown(&memory));
    let size = stored.size();
    assert_eq!((size.rows, size.rows_in_files, files(&dir)), (20, 20, 5));
    assert_eq!(size.memory_bytes, 0);
    let parts = stored.parts();
    let spans = parts.iter().filter_map(Part::span_in_file).map(|(a, b)| (a.0, b.0));
    assert_eq!(spans.collect::<Vec<_>>(), [(0, 3), (4, 7), (8, 11), (12, 15), (16, 19)]);
}

#[test]
fn late_rows_stand_behind_the_others_of_their_part() {
    let dir = TempDir::new().unwrap();
    let keeper = Keeper::start(dir.path(), 6).unwrap();
    let mut stored = history(Retention::Forever, Some(&keeper));
    stored.push(arrival_with_late(&[10, 11], 1, 100)).unwrap();
    stored.push(arrival(&[12], 101)).unwrap();
    let before = shown(&stored);
    assert_eq!(before.len(), 4);
    stored.push(arrival_with_late(&[13], 2, 102)).unwrap();
    keeper.drain();
    let last = shown(&stored);
    let late: Vec<bool> = last.iter().map(|line| line.contains("Some")).collect();
    assert_eq!(late, [false, false, false, false, true, true]);
    assert_eq!(stored.size().rows_in_files, 6);
    // Of columns that are wanted alone, only the rows that came in time.
    let deltas = stored.parts()[0].scan(&[1, 0], &|_, _| None).unwrap();
    let values = deltas[0].rows().column(1).as_primitive::<Int64Type>().values();
    assert_eq!((deltas.len(), values.to_vec()), (1, vec![10, 11, 12, 13]));
}

#[test]
fn an_image_names_files_and_copies_the_rest() {
    let dir = TempDir::new().unwrap();
    // The image holds the files that it names.
    let (saved, _files, before) = {
        let keeper = Keeper::start(dir.path(), 4).unwrap();
        let mut stored = history(Retention::Forever, Some(&keeper));
        for i in 0..9 {
            stored.push(arrival_with_late(&[i], i - 3, 100 + i)).unwrap();
        }
        keeper.drain();
        let mut to = StateWriter::default();
        stored.save(&mut to).unwrap();
        (to.items, to.files, shown(&stored))
    };
    let counts: (usize, usize) = StateReader::new(saved.clone()).take_value().unwrap();
    assert_eq!(counts, (4, 1));
    let load = || {
        let keeper = Keeper::start(dir.path(), 4).unwrap();
        let mut loaded = history(Retention::Forever, Some(&keeper));
        let loading = loaded.load(&mut StateReader::new(saved.clone()));
        let held = keeper.archive().settle();
        loading.unwrap();
        (loaded, held)
    };
    let (loaded, held) = load();
    assert_eq!((shown(&loaded), held.len()), (before, 4));
    // A file that is gone is not missed until its rows are.
    fs::remove_file(dir.path().join("7-2.parquet")).unwrap();
    let (loaded, held) = load();
    assert_eq!((loaded.row_count(), held.len()), (18, 4));
    let read = loaded.parts().into_iter().map(|part| part.read().map(drop));
    let errors: Vec<String> = read.filter_map(|read| Some(read.err()?.to_string())).collect();
    assert!(errors.len() == 1 && errors[0].contains("7-2.parquet"), "{errors:?}");
}

#[test]
fn what_is_on_its_way_to_a_file_is_copied() {
    let dir = TempDir::new().unwrap();
    let keeper = Keeper::start(&dir.path().join("below"), 2).unwrap();
    fs::remove_dir(dir.path().join("below")).unwrap();
    let mut stored = history(Retention::Forever, Some(&keeper));
    (0..5).for_each(|i| stored.push(arrival(&[i], 100 + i)).unwrap());
    keeper.drain();
    assert_eq!(stored.size().rows_in_files, 0);
    let mut to = StateWriter::default();
    stored.save(&mut to).unwrap();
    // Nothing is lost, and once there is room again all is written.
    assert_eq!(shown(&stored).len(), 5);
    fs::create_dir(dir.path().join("below")).unwrap();
    stored.push(arrival(&[5], 105)).unwrap();
    keeper.drain();
    assert_eq!((stored.size().rows_in_files, shown(&stored).len()), (6, 6));
    let mut loaded = history(Retention::Forever, Some(&keeper));
    loaded.load(&mut StateReader::of(to)).unwrap();
    keeper.drain();
    assert_eq!(shown(&loaded), shown(&stored)[..5]);
    assert_eq!(loaded.size().rows_in_files, 4);
}

#[test]
fn files_go_with_their_rows() {
    let dir = TempDir::new().unwrap();
    let keeper = Keeper::start(dir.path(), 2).unwrap();
    for (retention, rows) in [(Retention::Rows(5), 6), (Retention::Time(4), 6)] {
        let mut stored = history(retention, Some(&keeper));
        (0..20).for_each(|i| stored.push(arrival(&[i], 100 + i)).unwrap());
        keeper.drain();
        keeper.archive().sweep();
        assert_eq!((stored.row_count(), files(&dir)), (rows, rows / 2), "{retention:?}");
        // A reader keeps what it reads.
        let parts = stored.parts();
        (20..40).for_each(|i| stored.push(arrival(&[i], 100 + i)).unwrap());
        keeper.drain();
        keeper.archive().sweep();
        assert_eq!(parts[0].read().unwrap().len(), 1);
        drop((parts, stored));
        keeper.archive().sweep();
        assert_eq!(files(&dir), 0);
    }
}
