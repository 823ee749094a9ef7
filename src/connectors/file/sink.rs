//! Rows into files, each range of commits once.
//!
//! # Semantics
//! Rows of the commits from one to another become one file, or one for each combination of values
//! of the partition columns, in directories `column=value/` as Hive names them; a longer name is
//! cut, and ends in a checksum of the whole. A file is called
//! `part-ID-FROM-TO.ndjson` and is whole from the moment at which it has this name.
//!
//! What stands in a file is decided by its list: the directory `.highwater/ID/` has one for each
//! range, with a checksum and the names of its files, which is renamed into place when all of them
//! are on the disk under other names. A range that has a list has been written, and is never
//! written again; its files get their names, now or at the next start ([`Sink::resume`]).
//!
//! # Errors
//! A path or format that means nothing; a disk that is full or broken; a directory that is not
//! there any more, which is not made again. What failed may be tried again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use parquet::arrow::ArrowWriter;

use super::settings::FileFormat;
use crate::connectors::{Changes, Error, Result, Sink};
use crate::fault;

/// Where lists and unfinished files are.
const LISTS: &str = ".highwater";

/// Bytes of a directory's name: less than what file systems allow.
const NAME_BYTES_MAX: usize = 200;

/// The directory of a partition whose value is NULL, as Hive calls it.
const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Files of one sink in a directory.
#[derive(Clone, Debug)]
pub struct FileSink {
    dir: PathBuf,
    lists: PathBuf,
    id: String,
    format: FileFormat,
    /// Columns whose values name directories.
    partition: Vec<usize>,
}

impl FileSink {
    /// Files in a directory. `id` tells this sink from all others that ever wrote there.
    pub fn new(dir: &Path, id: String, format: FileFormat, partition: Vec<usize>) -> Self {
        let lists = dir.join(LISTS).join(&id);
        Self { dir: dir.to_owned(), lists, id, format, partition }
    }

    /// Makes the directory of the lists, in one that is there.
    fn make_lists(&self) -> Result<()> {
        fs::metadata(&self.dir).map_err(failed("find", &self.dir))?;
        fs::create_dir_all(&self.lists).map_err(failed("create", &self.lists))
    }

    /// Finishes what was written beyond `delivered`, and returns up to where everything is.
    fn finish(&self, delivered: u64) -> Result<u64> {
        self.make_lists()?;
        let mut until = delivered;
        while let Some((to, list)) = self.list_from(until + 1)? {
            self.name_files(&list)?;
            until = to;
        }
        Ok(until)
    }

    /// Writes the rows of the commits `from..=to`, of which none have been written before.
    fn write_rows(&self, (from, to): (u64, u64), rows: &RecordBatch) -> Result<()> {
        self.make_lists()?;
        let mut names = Vec::new();
        for (number, (directory, rows)) in self.by_directory(rows)?.into_iter().enumerate() {
            let name = format!("part-{}-{from:020}-{to:020}.{}", self.id, self.extension());
            let draft = self.draft(from, number);
            self.write_file(&draft, &rows).map_err(failed("write", &draft))?;
            fault::point("sink.file.drafted");
            names.push(directory.join(name).to_string_lossy().into_owned());
        }
        let list = self.lists.join(format!("{from:020}-{to:020}"));
        let draft = self.lists.join("list");
        let text = serde_json::to_string(&names).map_err(io::Error::other);
        let written = text.and_then(|text| {
            let mut file = File::create(&draft)?;
            write!(file, "{:08x} {text}", crc32fast::hash(text.as_bytes()))?;
            file.sync_all()?;
            fault::point("sink.list.drafted");
            fs::rename(&draft, &list)?;
            fault::point("sink.list.named");
            sync(&self.lists)
        });
        written.map_err(failed("write", &list))?;
        fault::point("sink.listed");
        self.name_files(&list)
    }

    /// Removes lists that nobody needs any more: it is known elsewhere that everything up to there
    /// has been written.
    fn forget_lists(&self, until: u64) -> Result<()> {
        let entries = fs::read_dir(&self.lists).map_err(failed("read", &self.lists))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().and_then(|name| name.to_str());
            let to: Option<u64> = name.and_then(|name| name.get(21..)?.parse().ok());
            if to.is_some_and(|to| to <= until) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                fault::point("sink.list.removed");
            }
        }
        Ok(())
    }

    /// Removes lists and drafts; a range that is not written whole never will be.
    fn remove_lists(&self) -> Result<()> {
        if self.lists.exists() {
            fs::remove_dir_all(&self.lists).map_err(failed("remove", &self.lists))?;
        }
        // It stays as long as others have lists there.
        let _ = fs::remove_dir(self.dir.join(LISTS));
        Ok(())
    }

    /// The list of the range that begins at a commit, and where that ends.
    fn list_from(&self, from: u64) -> Result<Option<(u64, PathBuf)>> {
        let begins = format!("{from:020}-");
        let entries = fs::read_dir(&self.lists).map_err(failed("read", &self.lists))?;
        for entry in entries {
            let entry = entry.map_err(failed("read", &self.lists))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let to = name.strip_prefix(&begins).and_then(|to| to.parse().ok());
            if let Some(to) = to {
                return Ok(Some((to, entry.path())));
            }
        }
        Ok(None)
    }

    /// Gives the files of a list the names that stand there, as far as they do not have them.
    fn name_files(&self, list: &Path) -> Result<()> {
        let damaged = |reason: &str| Error::Format { what: shown(list), reason: reason.to_owned() };
        let text = fs::read(list).map_err(failed("read", list))?;
        let text = String::from_utf8(text).map_err(|_| damaged("it is damaged"))?;
        let (checksum, text) = text.split_once(' ').ok_or_else(|| damaged("it is damaged"))?;
        if checksum != format!("{:08x}", crc32fast::hash(text.as_bytes())) {
            return Err(damaged("its checksum is another one"));
        }
        let names: Vec<String> =
            serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        let from = list.file_name().and_then(|name| name.to_str()?.get(..20)?.parse().ok());
        let from: u64 = from.ok_or_else(|| damaged("its name is no range of commits"))?;
        for (number, name) in names.iter().enumerate() {
            let (draft, path) = (self.draft(from, number), self.dir.join(name));
            if !draft.exists() {
                continue;
            }
            let directory = path.parent().unwrap_or(&self.dir);
            let named = fs::create_dir_all(directory)
                .and_then(|()| fs::rename(&draft, &path))
                .and_then(|()| sync(directory));
            named.map_err(failed("write", &path))?;
            fault::point("sink.file.named");
        }
        Ok(())
    }

    fn draft(&self, from: u64, number: usize) -> PathBuf {
        self.lists.join(format!("draft-{from:020}-{number}"))
    }

    fn extension(&self) -> &'static str {
        match self.format {
            FileFormat::Ndjson => "ndjson",
            FileFormat::Csv => "csv",
            FileFormat::Parquet => "parquet",
        }
    }

    /// The rows of each directory, in the order of the directories' names.
    fn by_directory(&self, rows: &RecordBatch) -> Result<BTreeMap<PathBuf, RecordBatch>> {
        if self.partition.is_empty() {
            return Ok(BTreeMap::from([(PathBuf::new(), rows.clone())]));
        }
        let mut places: BTreeMap<PathBuf, Vec<u32>> = BTreeMap::new();
        for (row, directory) in (0..).zip(self.directories(rows).map_err(unwritable)?) {
            places.entry(directory).or_default().push(row);
        }
        let parts = places.into_iter().map(|(directory, places)| {
            let part = take_record_batch(rows, &UInt32Array::from(places));
            Ok((directory, part.map_err(unwritable)?))
        });
        parts.collect()
    }

    /// The directory of each row.
    fn directories(&self, batch: &RecordBatch) -> std::result::Result<Vec<PathBuf>, ArrowError> {
        let mut directories = vec![PathBuf::new(); batch.num_rows()];
        for column in &self.partition {
            let schema = batch.schema();
            let name = escaped(schema.field(*column).name());
            let values = cast(batch.column(*column), &DataType::Utf8)?;
            let values = values.as_string::<i32>();
            for (row, directory) in directories.iter_mut().enumerate() {
                let value = match values.is_null(row) {
                    true => NULL_VALUE.to_owned(),
                    false => escaped(values.value(row)),
                };
                directory.push(shortened(format!("{name}={value}")));
            }
        }
        Ok(directories)
    }

    fn write_file(&self, path: &Path, rows: &RecordBatch) -> io::Result<()> {
        let file = File::create(path)?;
        let rows = self.written(rows).map_err(io::Error::other)?;
        let file = match self.format {
            FileFormat::Ndjson => {
                let options = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
                let mut writer =
                    options.build::<_, arrow::json::writer::LineDelimited>(BufWriter::new(file));
                writer.write(&rows).map_err(io::Error::other)?;
                writer.finish().map_err(io::Error::other)?;
                writer.into_inner().into_inner()?
            }
            FileFormat::Csv => {
                let mut writer = BufWriter::new(file);
                write_csv(&rows, &mut writer)?;
                writer.into_inner()?
            }
            FileFormat::Parquet => {
                let mut writer = ArrowWriter::try_new(file, rows.schema(), None)?;
                writer.write(&rows)?;
                writer.into_inner()?
            }
        };
        file.sync_all()
    }

    /// Rows as the format can have them: what it knows no type for becomes text.
    fn written(&self, batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let text = |of: &DataType| match self.format {
            FileFormat::Parquet => matches!(of, DataType::Interval(_)),
            FileFormat::Ndjson => matches!(of, DataType::Interval(_) | DataType::Duration(_)),
            FileFormat::Csv => of.is_nested() || matches!(of, DataType::Interval(_)),
        };
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
            let column = match text(field.data_type()) {
                true => cast(column, &DataType::Utf8)?,
                false => Arc::clone(column),
            };
            Ok((field.name().clone(), column, field.is_nullable()))
        });
        let columns = columns.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        RecordBatch::try_from_iter_with_nullable(columns)
    }
}

/// Writes rows with a header. NULL is nothing at all, and an empty text stands in quotes, as
/// Postgres has it.
fn write_csv(rows: &RecordBatch, to: &mut impl Write) -> io::Result<()> {
    let options = FormatOptions::default();
    let columns = rows.columns().iter();
    let columns = columns.map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let names = rows.schema();
    let names = names.fields().iter().map(|field| Some(field.name().clone()));
    write_record(names, to)?;
    for row in 0..rows.num_rows() {
        let values = rows.columns().iter().zip(&columns);
        let values =
            values.map(|(column, text)| column.is_valid(row).then(|| text.value(row).to_string()));
        write_record(values, to)?;
    }
    Ok(())
}

fn write_record(
    values: impl Iterator<Item = Option<String>>,
    to: &mut impl Write,
) -> io::Result<()> {
    for (place, value) in values.enumerate() {
        if place > 0 {
            to.write_all(b",")?;
        }
        let Some(value) = value else { continue };
        match value.is_empty() || value.contains(['"', ',', '\n', '\r']) {
            true => write!(to, "\"{}\"", value.replace('"', "\"\""))?,
            false => to.write_all(value.as_bytes())?,
        }
    }
    to.write_all(b"\n")
}

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(
    sink: &FileSink,
    step: impl FnOnce(&FileSink) -> Result<T> + Send + 'static,
) -> Result<T> {
    let sink = sink.clone();
    let done = tokio::task::spawn_blocking(move || step(&sink)).await;
    done.map_err(|error| Error::Io { what: "writing files".to_owned(), source: error.into() })?
}

#[async_trait]
impl Sink for FileSink {
    async fn resume(&self, delivered: u64) -> Result<u64> {
        blocking(self, move |sink| sink.finish(delivered)).await
    }

    async fn write(&self, range: (u64, u64), changes: Arc<Changes>) -> Result<()> {
        blocking(self, move |sink| sink.write_rows(range, &changes.rows)).await
    }

    async fn forget(&self, until: u64) -> Result<()> {
        blocking(self, move |sink| sink.forget_lists(until)).await
    }

    async fn end(&self) -> Result<()> {
        blocking(self, FileSink::remove_lists).await
    }
}

/// Makes the directory of a sink.
pub fn make_directory(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(failed("create", dir))
}

/// Refuses columns that no directory can be named after.
pub fn check_partition(schema: &SchemaRef, partition: &[usize]) -> Result<()> {
    for column in partition {
        let field = schema.field(*column);
        if field.data_type().is_nested() {
            let message = format!("cannot partition by column \"{}\"", field.name());
            let hint = Some("Its values are lists or rows; take one that has a text.".to_owned());
            return Err(Error::Option { message, hint });
        }
    }
    Ok(())
}

/// A name that file systems can have: of a longer one the beginning, and what tells it from others.
fn shortened(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let end = (0..=NAME_BYTES_MAX - 9).rev().find(|end| name.is_char_boundary(*end));
    format!("{}~{:08x}", &name[..end.unwrap_or(0)], crc32fast::hash(name.as_bytes()))
}

/// A text as a part of a path: what means something there is written as `%2F`.
fn escaped(text: &str) -> String {
    let mut path = String::new();
    for character in text.chars() {
        if character.is_control() || "/\\%=:\"*?<>|".contains(character) {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                path.push_str(&format!("%{byte:02X}"));
            }
        } else {
            path.push(character);
        }
    }
    // A directory has a name, and not that of another.
    if path.is_empty() || path.chars().all(|c| c == '.') { format!("%{path}") } else { path }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn shown(path: &Path) -> String {
    format!("file \"{}\"", path.display())
}

fn unwritable(error: ArrowError) -> Error {
    Error::Format { what: "rows".to_owned(), reason: error.to_string() }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let what = format!("could not {what} file \"{}\"", path.display());
    |source| Error::Io { what, source }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn rows(numbers: &[i64], texts: &[Option<&str>]) -> RecordBatch {
        let numbers = Arc::new(Int64Array::from(numbers.to_vec()));
        let texts = Arc::new(StringArray::from(texts.to_vec()));
        RecordBatch::try_from_iter([("n", numbers as _), ("k", texts as _)]).unwrap()
    }

    /// Files with what is in them, by name without the sink's.
    fn files(dir: &Path) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut open = vec![dir.to_owned()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                if path.is_dir() && name != LISTS {
                    open.push(path);
                } else if path.is_file() {
                    let text = fs::read_to_string(&path).unwrap();
                    all.push((name.replace("000000000000000000", ""), text));
                }
            }
        }
        all.sort();
        all
    }

    fn sink(dir: &Path, format: FileFormat, partition: Vec<usize>) -> FileSink {
        FileSink::new(dir, "x".to_owned(), format, partition)
    }

    #[test]
    fn a_range_is_one_file_and_a_partition_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let plain = sink(dir.path(), FileFormat::Ndjson, vec![]);
        plain.write_rows((1, 3), &rows(&[1, 2], &[Some("a"), None])).unwrap();
        let text = "{\"n\":1,\"k\":\"a\"}\n{\"n\":2,\"k\":null}\n";
        assert_eq!(files(dir.path()), [("part-x-01-03.ndjson".to_owned(), text.to_owned())]);

        let dir = tempfile::tempdir().unwrap();
        let parted = sink(dir.path(), FileFormat::Csv, vec![1]);
        let batch = rows(&[1, 2, 3, 4], &[Some("a/b"), None, Some("a/b"), Some("..")]);
        parted.write_rows((4, 4), &batch).unwrap();
        let expected = [
            ("k=%../part-x-04-04.csv", "n,k\n4,..\n"),
            ("k=__HIVE_DEFAULT_PARTITION__/part-x-04-04.csv", "n,k\n2,\n"),
            ("k=a%2Fb/part-x-04-04.csv", "n,k\n1,a/b\n3,a/b\n"),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files(dir.path()), expected);
    }

    #[test]
    fn csv_tells_null_from_an_empty_text() {
        let mut bytes = Vec::new();
        let texts = [None, Some(""), Some("a,b"), Some("\"x\" \n"), Some(" y")];
        write_csv(&rows(&[1, 2, 3, 4, 5], &texts), &mut bytes).unwrap();
        let expected = "n,k\n1,\n2,\"\"\n3,\"a,b\"\n4,\"\"\"x\"\" \n\"\n5, y\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn lists_and_drafts_go_with_the_sink() {
        let dir = tempfile::tempdir().unwrap();
        let one = sink(dir.path(), FileFormat::Ndjson, vec![]);
        let other = FileSink::new(dir.path(), "y".to_owned(), FileFormat::Ndjson, vec![]);
        for sink in [&one, &other] {
            sink.write_rows((1, 2), &rows(&[1], &[None])).unwrap();
            fs::write(sink.draft(3, 0), "half").unwrap();
        }
        one.remove_lists().unwrap();
        assert!(!one.lists.exists() && other.lists.exists());
        other.remove_lists().unwrap();
        assert!(!dir.path().join(LISTS).exists());
        assert_eq!(files(dir.path()).len(), 2);
    }

    #[test]
    fn a_long_value_names_a_directory_too() {
        let (long, other) = ("é".repeat(300), format!("{}x", "é".repeat(300)));
        let names = [&long, &other].map(|value| shortened(format!("k={value}")));
        assert!(names[0] != names[1] && names.iter().all(|name| name.len() <= NAME_BYTES_MAX));
        let dir = tempfile::tempdir().unwrap();
        let parted = sink(dir.path(), FileFormat::Ndjson, vec![1]);
        parted.write_rows((1, 1), &rows(&[1, 2], &[Some(&long), Some(&other)])).unwrap();
        assert_eq!(files(dir.path()).len(), 2);
    }

    #[test]
    fn parquet_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let batch = rows(&[1, 2], &[Some("a"), None]);
        sink(dir.path(), FileFormat::Parquet, vec![]).write_rows((1, 1), &batch).unwrap();
        let path = dir.path().join(format!("part-x-{:020}-{:020}.parquet", 1, 1));
        let file = File::open(path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let read: Vec<RecordBatch> = reader.map(std::result::Result::unwrap).collect();
        assert_eq!(read[0].columns(), batch.columns());
    }

    #[test]
    fn a_range_with_a_list_is_finished_and_one_without_is_as_if_it_had_not_been() {
        let dir = tempfile::tempdir().unwrap();
        let sink = sink(dir.path(), FileFormat::Ndjson, vec![]);
        sink.write_rows((1, 2), &rows(&[1], &[None])).unwrap();
        sink.write_rows((3, 7), &rows(&[2], &[None])).unwrap();
        // The file lost its name: the process died before it got one.
        let name = format!("part-x-{:020}-{:020}.ndjson", 3, 7);
        fs::rename(dir.path().join(&name), sink.draft(3, 0)).unwrap();
        // A range of which no list was written.
        fs::write(sink.draft(8, 0), "{").unwrap();
        assert_eq!(sink.finish(0).unwrap(), 7);
        assert!(dir.path().join(&name).exists());
        assert_eq!(sink.finish(2).unwrap(), 7);
        assert_eq!(sink.finish(7).unwrap(), 7);
        sink.write_rows((8, 8), &rows(&[3], &[None])).unwrap();
        assert_eq!(files(dir.path()).len(), 3);
    }
}
