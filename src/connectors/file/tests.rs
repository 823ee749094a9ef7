//! Tests of the file connector.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use futures::FutureExt;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;
use crate::clock::ManualClock;
use crate::connectors::{SourcePosition, open};
use crate::error::Classify;
use crate::time::Timestamp;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]))
}

/// A directory with files, and a clock that moves when told.
struct Fixture {
    dir: TempDir,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Self { dir: TempDir::new().unwrap(), clock: Arc::default() };
        for (name, text) in files {
            fixture.append(name, text);
        }
        fixture
    }

    fn append(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn spec(&self, path: &str, options: &[(&str, &str)]) -> SourceSpec {
        let path = self.dir.path().join(path).to_str().unwrap().to_owned();
        let mut map = BTreeMap::from([("connector".to_owned(), "file".to_owned())]);
        map.insert("path".to_owned(), path);
        map.extend(options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        SourceSpec {
            options: map,
            schema: schema(),
            event_time: Some("ts".to_owned()),
            from: SourcePosition::default(),
            clock: Arc::<ManualClock>::clone(&self.clock),
        }
    }

    fn open(&self, path: &str, options: &[(&str, &str)]) -> FileSource {
        FileSource::open(&self.spec(path, options)).unwrap()
    }

    fn refusal(&self, path: &str, options: &[(&str, &str)]) -> Error {
        open(&self.spec(path, options)).err().expect("the source is refused")
    }
}

fn ids(batch: &SourceBatch) -> Vec<i32> {
    batch.rows.column(0).as_primitive::<Int32Type>().values().to_vec()
}

/// Returns what is delivered without waiting.
async fn now(source: &mut FileSource, rows_max: usize) -> (Vec<i32>, usize) {
    let (mut all, mut bad) = (Vec::new(), 0);
    while let Some(Some(batch)) = polled(source, rows_max).await {
        assert!(batch.rows.num_rows() <= rows_max);
        all.extend(ids(&batch));
        bad += batch.bad.len();
    }
    (all, bad)
}

/// Returns what the source delivers, or `None` if it waits for time to pass.
async fn polled(source: &mut FileSource, rows_max: usize) -> Option<Option<SourceBatch>> {
    loop {
        if let Some(batch) = source.next(rows_max).now_or_never() {
            return Some(batch.unwrap());
        }
        let reads = matches!(source.reading, Reading::Busy(_)) && source.pending.is_empty();
        if !reads {
            return None;
        }
        tokio::task::yield_now().await;
    }
}

/// What a source that ends delivers.
async fn all(source: &mut FileSource) -> (Vec<i32>, Vec<String>) {
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    while let Some(batch) = source.next(1000).await.unwrap() {
        rows.extend(ids(&batch));
        bad.extend(batch.bad.iter().map(|b| format!("{}: {}", b.place, b.flaw)));
    }
    (rows, bad)
}

#[tokio::test]
async fn files_are_read_in_name_order() {
    let fixture = Fixture::new(&[
        ("b.ndjson", "{\"id\":2}\n{\"id\":3}"),
        ("c.ndjson", "{\"id\":4}\nnonsense\n"),
        ("a.ndjson", ""),
        ("a1.ndjson", "\u{feff}{\"id\":1}\r\n"),
        ("x.csv", "id,ts\n9,\n"),
        (".hidden.ndjson", "{\"id\":9}\n"),
    ]);
    for (path, options) in [("*.ndjson", &[][..]), ("[abc]*", &[("format", "json")])] {
        let mut source = fixture.open(path, options);
        assert_eq!(now(&mut source, 100).await, (vec![1, 2, 3, 4], 1), "{path}");
        assert!(source.next(100).await.unwrap().is_none());
    }
    fs::remove_file(fixture.dir.path().join("x.csv")).unwrap();
    assert_eq!(now(&mut fixture.open("", &[]), 2).await, (vec![1, 2, 3, 4], 1));
}

#[tokio::test]
async fn every_position_resumes_behind_its_batch() {
    let lines =
        |from: i32| -> String {
            (from..from + 20)
                .map(|id| {
                    if id % 6 == 0 { "bad\n\n".to_owned() } else { format!("{{\"id\":{id}}}\r\n") }
                })
                .collect()
        };
    let csv: String = (40..60).map(|id| format!("{id},\"2013-01-01\n\"\n")).collect();
    let fixture = Fixture::new(&[
        ("a.ndjson", &lines(0)),
        ("b.ndjson", &lines(20)),
        ("c.csv", &format!("id,ts\n{csv}")),
    ]);
    for (path, options) in
        [("*.ndjson", &[][..]), ("c.csv", &[]), ("*.ndjson", &[("follow", "true")])]
    {
        let spec = fixture.spec(path, options);
        let (all, bad) = now(&mut FileSource::open(&spec).unwrap(), 1000).await;
        for rows_max in [1, 3, 7, 1000] {
            let mut spec = spec.clone();
            let (mut resumed, mut resumed_bad) = (Vec::new(), 0);
            while let Some(Some(batch)) =
                polled(&mut FileSource::open(&spec).unwrap(), rows_max).await
            {
                resumed.extend(ids(&batch));
                resumed_bad += batch.bad.len();
                spec.from = batch.position;
            }
            assert_eq!((&resumed, resumed_bad), (&all, bad), "{path} {rows_max}");
        }
    }
}

#[tokio::test]
async fn parquet_is_read_and_resumed() {
    let fixture = Fixture::new(&[]);
    let ids_of = |range: std::ops::Range<i32>| Arc::new(Int32Array::from_iter_values(range)) as _;
    let times = |n| Arc::new(TimestampMicrosecondArray::from(vec![0; n])) as _;
    for (name, range) in [("a.parquet", 0..10), ("b.parquet", 10..15)] {
        let rows = range.len();
        let batch =
            RecordBatch::try_from_iter([("ts", times(rows)), ("id", ids_of(range))]).unwrap();
        let file = File::create(fixture.dir.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let mut spec = fixture.spec("*.parquet", &[]);
    let mut all = Vec::new();
    while let Some(batch) = open(&spec).unwrap().source.next(4).await.unwrap() {
        all.extend(ids(&batch));
        spec.from = batch.position;
    }
    assert_eq!(all, (0..15).collect::<Vec<_>>());
    fixture.append("c.parquet", "PAR1 half");
    let mut follow = fixture.open("*.parquet", &[("follow", "true")]);
    assert_eq!(now(&mut follow, 100).await.0.len(), 15);
}

#[tokio::test]
async fn following_waits_for_whole_lines_and_new_files() {
    let fixture = Fixture::new(&[("a.ndjson", "{\"id\":1}\n{\"id\"")]);
    let mut source = fixture.open("*.ndjson", &[("follow", "true")]);
    assert_eq!(now(&mut source, 100).await.0, [1]);
    fixture.append("a.ndjson", ":2}");
    assert!(now(&mut source, 100).await.0.is_empty());
    fixture.append("a.ndjson", "\n");
    fixture.append("b.ndjson", "{\"id\":3}\n");
    assert_eq!(now(&mut source, 100).await.0, [2, 3]);
    fixture.append("a.ndjson", "{\"id\":4}\n");
    assert_eq!(now(&mut source, 100).await.0, [4]);
    fs::write(fixture.dir.path().join("b.ndjson"), "").unwrap();
    assert!(now(&mut source, 100).await.0.is_empty());
    fixture.append("b.ndjson", "{\"id\":5}\n");
    assert_eq!(now(&mut source, 100).await.0, [5]);
}

#[tokio::test]
async fn a_followed_file_may_come_later() {
    let fixture = Fixture::new(&[]);
    let mut source = fixture.open("late.csv", &[("follow", "true")]);
    assert!(now(&mut source, 100).await.0.is_empty());
    fixture.append("late.csv", "id,");
    assert!(now(&mut source, 100).await.0.is_empty());
    fixture.append("late.csv", "ts\n1,\n");
    assert_eq!(now(&mut source, 100).await.0, [1]);
    fixture.append("late.csv", "2,\n");
    assert_eq!(now(&mut source, 100).await.0, [2]);
}

#[tokio::test]
async fn rates_and_limits() {
    let text: String = (0..100)
        .map(|id| format!("{{\"id\":{id},\"ts\":\"2013-01-01 00:00:{:02}\"}}\n", id % 60))
        .collect();
    let fixture = Fixture::new(&[("a.ndjson", &text)]);
    let mut limited = fixture.open("a.ndjson", &[("limit", "7")]);
    assert_eq!(now(&mut limited, 3).await.0, (0..7).collect::<Vec<_>>());
    assert!(limited.next(3).await.unwrap().is_none());

    let mut paced = fixture.open("a.ndjson", &[("rate", "10/s")]);
    assert_eq!(now(&mut paced, 100).await.0, [0]);
    fixture.clock.set(Timestamp(1_000_000));
    assert_eq!(now(&mut paced, 100).await.0, (1..=10).collect::<Vec<_>>());

    fixture.clock.set(Timestamp(0));
    let mut replay = fixture.open("a.ndjson", &[("rate", "10x")]);
    assert_eq!(now(&mut replay, 100).await.0, [0]);
    fixture.clock.set(Timestamp(500_000));
    assert_eq!(now(&mut replay, 2).await.0, [1, 2, 3, 4, 5]);
    fixture.clock.set(Timestamp(5_900_000));
    assert_eq!(now(&mut replay, 100).await.0.last(), Some(&99));
}

#[tokio::test]
async fn a_large_file_comes_in_blocks() {
    let long = "x".repeat(1 << 20);
    let line = |id: i32| format!("{{\"skipped\":\"{long}\",\"id\":{id}}}\n");
    let small: String = (5..30_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let large: String = (0..5).map(line).collect();
    let fixture = Fixture::new(&[("a.ndjson", &large), ("b.ndjson", &small)]);
    let mut source = fixture.open("*.ndjson", &[]);
    assert_eq!(now(&mut source, 100_000).await.0, (0..30_000).collect::<Vec<_>>());
}

#[test]
fn wrong_options_are_refused() {
    let fixture = Fixture::new(&[("a.ndjson", ""), ("a.csv", "ts,id\n"), ("a.txt", "")]);
    let error = fixture.refusal("a.ndjson", &[("pth", "x")]);
    assert_eq!(error.to_string(), "unknown option \"pth\"");
    assert!(error.hint().unwrap().contains("follow, format, header, limit"));
    assert!(open(&fixture.spec("a.ndjson", &[("retention", "1 day"), ("wait", "on")])).is_ok());
    let message = |path, options: &[_]| fixture.refusal(path, options).to_string();
    assert!(message("a.txt", &[]).starts_with("the format of"));
    assert_eq!(
        message("a.ndjson", &[("header", "true")]),
        "option \"header\" is for format csv only"
    );
    assert_eq!(message("a.ndjson", &[("rate", "fast")]), "option \"rate\" cannot be 'fast'");
    assert!(
        message("a.ndjson", &[("rate", "2x"), ("pace_by", "id")]).contains("no timestamp column")
    );
    assert_eq!(message("a.csv", &[("max_line", "0")]), "option \"max_line\" cannot be '0'");
    assert_eq!(message("a.csv", &[("time_unit", "h")]), "option \"time_unit\" cannot be 'h'");
    assert!(open(&fixture.spec("a.csv", &[])).unwrap().bounded);
    assert!(!open(&fixture.spec("a.csv", &[("follow", "true")])).unwrap().bounded);
    let error = fixture.refusal("a.csv", &[("connector", "kafka")]);
    assert_eq!(error.to_string(), "unknown connector \"kafka\"");
    assert_eq!(error.hint().unwrap(), "Known connectors are datagen, file, nexmark.");
}

#[test]
fn a_path_where_nothing_is_is_refused_unless_it_is_followed() {
    let fixture = Fixture::new(&[("a.csv", "ts,id\n")]);
    for (path, words) in [
        ("none.csv", "no such file or directory"),
        ("none/a.csv", "no such file or directory"),
        ("none", "no such file or directory"),
        ("none*.csv", "no file matches"),
    ] {
        let error = fixture.refusal(path, &[("format", "csv")]);
        assert_eq!(error.sqlstate().0, "58P01", "{path}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().unwrap().starts_with("Paths are the server's"));
        let options = [("format", "csv"), ("follow", "true")];
        let notice = open(&fixture.spec(path, &options)).unwrap().notice.unwrap();
        assert!(notice.contains("does not exist yet; waiting"), "{notice}");
    }
    fs::create_dir(fixture.dir.path().join("empty")).unwrap();
    let notice = open(&fixture.spec("empty", &[("format", "csv")])).unwrap().notice.unwrap();
    assert!(notice.starts_with("there is no file to read in"), "{notice}");
    assert_eq!(open(&fixture.spec("a.csv", &[])).unwrap().notice, None);
}

#[tokio::test]
async fn a_file_without_a_declared_column_is_refused_or_left_out() {
    let fixture = Fixture::new(&[
        ("a.csv", "id,at\n1,\n"),
        ("b.csv", "id,ts\n2,\n"),
        ("c.csv", "\"id\n3,\n"),
        ("d.csv", "ts,id\n,4\n"),
        ("e.parquet", "no such thing"),
    ]);
    assert_eq!(
        fixture.refusal("*.csv", &[]).to_string(),
        "a.csv: the header has no column \"ts\"; it has id, at"
    );
    assert!(fixture.refusal("e.parquet", &[]).to_string().starts_with("e.parquet: "));
    fs::rename(fixture.dir.path().join("a.csv"), fixture.dir.path().join("b1.csv")).unwrap();
    let (rows, bad) = all(&mut fixture.open("*.csv", &[])).await;
    assert_eq!(rows, [2, 4]);
    assert_eq!(
        bad,
        [
            "b1.csv: the header has no column \"ts\"; it has id, at",
            "c.csv: the header has a quote that is not closed"
        ]
    );
}

#[tokio::test]
async fn a_line_that_is_too_long_is_one_bad_record() {
    let long = "x".repeat(5 << 20);
    let text =
        format!("{{\"id\":1}}\n{{\"id\":\"{long}\"}}\n{{\"id\":3}}\n{long}\n{{\"id\":5}}\n{long}");
    let fixture = Fixture::new(&[
        ("a.ndjson", &text),
        ("b.csv", &format!("id,ts\n{long}\n2,\n")),
        ("c.csv", &long),
    ]);
    let reason = |bytes| format!("the line has {bytes} bytes, more than max_line = 1048576");
    for max_line in ["1 MB", "1048576"] {
        let (rows, bad) = all(&mut fixture.open("a.ndjson", &[("max_line", max_line)])).await;
        assert_eq!(rows, [1, 3, 5]);
        let expected = [(2, (5 << 20) + 10), (4, (5 << 20) + 1), (6, 5 << 20)];
        let expected = expected.map(|(line, len)| format!("a.ndjson:{line}: {}", reason(len)));
        assert_eq!(bad, expected);
    }
    let (rows, bad) = all(&mut fixture.open("b.csv", &[("max_line", "1MB")])).await;
    assert_eq!((rows, bad), (vec![2], vec![format!("b.csv:2: {}", reason((5 << 20) + 1))]));
    let error = fixture.refusal("c.csv", &[("max_line", "1MB")]).to_string();
    assert!(error.starts_with("c.csv: the header has no end: the line has 2"), "{error}");
}

#[tokio::test]
async fn a_line_that_grows_is_waited_for_and_may_become_too_long() {
    let fixture = Fixture::new(&[("a.ndjson", "{\"id\":1}\n{\"id\":")]);
    let options = [("follow", "true"), ("max_line", "1000")];
    let mut source = fixture.open("a.ndjson", &options);
    assert_eq!(now(&mut source, 100).await, (vec![1], 0));
    for _ in 0..30 {
        fixture.append("a.ndjson", &" ".repeat(100));
        assert_eq!(now(&mut source, 100).await, (vec![], 0));
    }
    fixture.append("a.ndjson", "2}\n{\"id\":3}\n{\"id\"");
    let batch = polled(&mut source, 100).await.unwrap().unwrap();
    assert_eq!(batch.bad[0].place, "a.ndjson:2");
    assert_eq!(batch.bad[0].flaw, crate::connectors::Flaw::too_long(3009, 1000));
    assert_eq!(batch.bad[0].raw.len(), 300);
    assert_eq!(now(&mut source, 100).await, (vec![3], 0));
    fixture.append("a.ndjson", ":4}\n");
    assert_eq!(now(&mut source, 100).await, (vec![4], 0));
}

#[tokio::test]
async fn a_renamed_file_is_read_on_and_never_twice() {
    let fixture = Fixture::new(&[("app.ndjson", "{\"id\":1}\n{\"id\":2}\n")]);
    let rename = |from: &str, to: &str| {
        fs::rename(fixture.dir.path().join(from), fixture.dir.path().join(to)).unwrap();
    };
    for path in ["app.ndjson", "*.ndjson"] {
        let mut source = fixture.open(path, &[("follow", "true")]);
        assert_eq!(now(&mut source, 100).await, (vec![1, 2], 0), "{path}");
        // What was written before and after it was renamed comes, and then the new file.
        fixture.append("app.ndjson", "{\"id\":3}\n{\"id\":");
        rename("app.ndjson", "app.1.ndjson");
        fixture.append("app.1.ndjson", "4}\n");
        fixture.append("app.ndjson", "{\"id\":5}\n");
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.extend(now(&mut source, 100).await.0);
        }
        assert_eq!(ids, [3, 4, 5], "{path}");
        fs::remove_file(fixture.dir.path().join("app.1.ndjson")).unwrap();
        fs::write(fixture.dir.path().join("app.ndjson"), "{\"id\":1}\n{\"id\":2}\n").unwrap();
    }
}

#[tokio::test]
async fn a_file_that_has_shrunk_is_told_and_read_again() {
    let fixture = Fixture::new(&[("a.ndjson", "{\"id\":1}\n{\"id\":2}\n")]);
    let mut source = fixture.open("a.ndjson", &[("follow", "true")]);
    assert_eq!(now(&mut source, 100).await, (vec![1, 2], 0));
    fs::write(fixture.dir.path().join("a.ndjson"), "{\"id\":3}\n").unwrap();
    let mut ids = Vec::new();
    let mut told = 0;
    for _ in 0..3 {
        let (more, bad) = now(&mut source, 100).await;
        ids.extend(more);
        told += bad;
    }
    assert_eq!((ids, told), (vec![3], 1));
}
