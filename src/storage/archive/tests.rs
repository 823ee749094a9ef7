//! Files that are written, held, adopted and damaged.

use std::fs;
use std::path::Path;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use tempfile::TempDir;

use super::*;

fn numbers(values: std::ops::Range<i64>) -> RecordBatch {
    let values = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("a", values as _)]).unwrap()
}

fn write(archive: &Archive, values: std::ops::Range<i64>) -> Arc<Stored> {
    let batch = numbers(values);
    archive.write("7", &batch.schema(), &[vec![batch]]).unwrap()
}

fn all(stored: &Stored) -> Result<Vec<i64>> {
    let opened = stored.open()?;
    let groups = (0..opened.metadata().num_row_groups()).collect();
    let batches = opened.read(&[0], groups)?;
    let values =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    Ok(batches.iter().flat_map(values).collect())
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let dir = TempDir::new().unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let stored = write(&archive, 0..40_000);
    assert_eq!(all(&stored).unwrap(), (0..40_000).collect::<Vec<_>>());
    assert_eq!(stored.description().rows, 40_000);
    let groups = stored.open().unwrap().metadata().num_row_groups();
    assert_eq!(groups, 40_000_usize.div_ceil(GROUP_ROWS));
}

#[test]
fn groups_of_rows_can_be_chosen() {
    let dir = TempDir::new().unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let (a, b) = (numbers(0..3), numbers(3..5));
    let stored = archive.write("7", &a.schema(), &[vec![a], vec![b]]).unwrap();
    let opened = stored.open().unwrap();
    let second = opened.read(&[0], vec![1]).unwrap();
    assert_eq!(second, [numbers(3..5)]);
    let none = opened.read(&[], vec![0]).unwrap();
    assert_eq!((none.len(), none[0].num_rows(), none[0].num_columns()), (1, 3, 0));
}

#[test]
fn damage_is_found_and_named() {
    let dir = TempDir::new().unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let stored = write(&archive, 0..100);
    let whole = fs::read(stored.path()).unwrap();
    for position in [0, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        fs::write(stored.path(), bytes).unwrap();
        let error = all(&stored).unwrap_err().to_string();
        assert!(error.contains("7-0.parquet\" is damaged: its checksum"), "{error}");
    }
    fs::write(stored.path(), &whole[..whole.len() - 1]).unwrap();
    let error = all(&stored).unwrap_err().to_string();
    assert!(error.contains("is damaged: it has"), "{error}");
    fs::remove_file(stored.path()).unwrap();
    let error = all(&stored).unwrap_err().to_string();
    assert!(error.starts_with("could not read"), "{error}");
}

#[test]
fn a_file_goes_when_nobody_holds_it() {
    let dir = TempDir::new().unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let (first, second) = (write(&archive, 0..1), write(&archive, 1..2));
    archive.sweep();
    assert_eq!(files(dir.path()), ["7-0.parquet", "7-1.parquet"]);
    drop(first);
    archive.sweep();
    assert_eq!(files(dir.path()), ["7-1.parquet"]);
    drop(second);
    archive.sweep();
    assert!(files(dir.path()).is_empty());
}

#[test]
fn at_a_start_the_files_that_nobody_adopts_go() {
    let dir = TempDir::new().unwrap();
    let wanted = {
        let archive = Archive::open(dir.path()).unwrap();
        let (_, wanted) = (write(&archive, 0..1), write(&archive, 1..2));
        wanted.description().clone()
    };
    fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let stored = archive.adopt(wanted.clone());
    // Names go on behind those that were there.
    let next = write(&archive, 2..3);
    assert_eq!(archive.settle().len(), 1);
    archive.sweep();
    assert_eq!(files(dir.path()), ["7-1.parquet", "7-2.parquet", "notes.txt"]);
    assert_eq!((all(&stored).unwrap(), all(&next).unwrap()), (vec![1], vec![2]));
    fs::remove_file(stored.path()).unwrap();
    drop(stored);
    let error = archive.adopt(wanted).open().map(drop).unwrap_err().to_string();
    assert!(error.starts_with("could not read"), "{error}");
}

#[test]
fn rows_that_cannot_be_written_leave_nothing() {
    let dir = TempDir::new().unwrap();
    let archive = Archive::open(&dir.path().join("below")).unwrap();
    fs::remove_dir(dir.path().join("below")).unwrap();
    let batch = numbers(0..1);
    let error = archive.write("7", &batch.schema(), &[vec![batch]]).unwrap_err();
    assert!(matches!(error, Error::Io { what: "write", .. }), "{error}");
    assert!(files(dir.path()).is_empty());
}
