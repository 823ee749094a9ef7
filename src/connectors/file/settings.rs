//! What the options of a file source mean.

use std::path::Path;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use super::listing::list;
use crate::connectors::format::{CsvDecoder, CsvOptions, Decoder, Digits, JsonDecoder};
use crate::connectors::options::Options;
use crate::connectors::pace::Rate;
use crate::connectors::{Error, Result, SourceSpec};

/// The options of this connector.
const KNOWN: [&str; 11] = [
    "path",
    "format",
    "follow",
    "rate",
    "pace_by",
    "limit",
    "max_line",
    "time_unit",
    "header",
    "delimiter",
    "null",
];

/// Longest line unless told otherwise: far beyond honest ones, and little memory.
const MAX_LINE: usize = 64 << 20;

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values.
    Csv,
    /// Parquet.
    Parquet,
}

impl FileFormat {
    /// Returns the format of a name, which is also the extension of its files.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" | "json" => FileFormat::Ndjson,
            "csv" => FileFormat::Csv,
            "parquet" => FileFormat::Parquet,
            _ => return None,
        })
    }

    /// Returns the format that the extension of a file says.
    pub fn of_path(path: &Path) -> Option<Self> {
        FileFormat::parse(path.extension()?.to_str()?)
    }
}

/// The options of a file source, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// File, pattern or directory.
    pub path: String,
    /// How the files are written.
    pub format: FileFormat,
    /// In a directory, read only files of this extension.
    pub only: Option<FileFormat>,
    /// Whether files grow and new ones come.
    pub follow: bool,
    /// How fast rows are delivered.
    pub rate: Rate,
    /// The time column of the pace, by its place.
    pub pace_by: Option<usize>,
    /// Most rows.
    pub limit: Option<u64>,
    /// Most bytes of a line.
    pub max_line: usize,
    /// What numbers count that are to be timestamps.
    pub time_unit: Option<TimeUnit>,
    /// The declared columns.
    pub schema: SchemaRef,
    csv: CsvOptions,
}

impl Settings {
    /// Reads the options.
    pub fn new(spec: &SourceSpec) -> Result<Self> {
        let options = Options::new(&spec.options, &KNOWN, None)?;
        let path = options.required("path")?.to_owned();
        let given =
            options.parsed("format", FileFormat::parse, "It is ndjson, json, csv or parquet.")?;
        let format = match given {
            Some(format) => format,
            None => infer(&path)?,
        };
        let rate = options
            .parsed("rate", Rate::parse, "It is '5000/s' or 5000 rows per second, or '3600x'.")?
            .unwrap_or(Rate::Unlimited);
        let time_unit = options.parsed("time_unit", unit, "It is s, ms, us or ns.")?;
        let settings = Self {
            path,
            format,
            only: given.is_none().then_some(format),
            follow: options.flag("follow", false)?,
            rate,
            pace_by: pace_column(spec, &options, rate)?,
            limit: options.number("limit")?,
            max_line: options.bytes("max_line")?.unwrap_or(MAX_LINE),
            time_unit,
            schema: spec.schema.clone(),
            csv: csv_options(&options, format, time_unit)?,
        };
        if format != FileFormat::Parquet {
            settings.decoder()?;
        }
        Ok(settings)
    }

    /// Makes the decoder of a text format.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        let schema = self.schema.clone();
        Ok(match self.format {
            FileFormat::Csv => Box::new(CsvDecoder::new(schema, self.csv.clone())?),
            FileFormat::Ndjson | FileFormat::Parquet => {
                let digits = self.time_unit.map_or(Digits::Unknown, Digits::Count);
                Box::new(JsonDecoder::new(schema, digits)?)
            }
        })
    }
}

/// Returns the format that the extension says, in a directory that of its files.
fn infer(path: &str) -> Result<FileFormat> {
    if let Some(format) = FileFormat::of_path(Path::new(path)) {
        return Ok(format);
    }
    let files = if Path::new(path).is_dir() { list(path, None)? } else { Vec::new() };
    let mut formats = files.iter().filter_map(|file| FileFormat::of_path(file));
    let first = formats.next();
    match first {
        Some(format) if formats.all(|other| other == format) => Ok(format),
        _ => Err(Error::Option {
            message: format!("the format of \"{path}\" is not known from its name"),
            hint: Some("Add format = 'ndjson', 'csv' or 'parquet'.".to_owned()),
        }),
    }
}

fn pace_column(spec: &SourceSpec, options: &Options<'_>, rate: Rate) -> Result<Option<usize>> {
    let given = options.get("pace_by");
    let by_time = matches!(rate, Rate::Speedup(_));
    let Some(name) = given.or(spec.event_time.as_deref().filter(|_| by_time)) else {
        if by_time {
            return Err(Error::Option {
                message: "a rate such as '3600x' needs a time column".to_owned(),
                hint: Some("Add pace_by = '<timestamp column>'.".to_owned()),
            });
        }
        return Ok(None);
    };
    let found = spec.schema.fields().iter().position(|field| {
        field.name() == name
            && matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _))
    });
    let column = found.ok_or_else(|| Error::Option {
        message: format!("option \"pace_by\": there is no timestamp column \"{name}\""),
        hint: None,
    })?;
    Ok(Some(column))
}

fn unit(text: &str) -> Option<TimeUnit> {
    Some(match text {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

fn csv_options(
    options: &Options<'_>,
    format: FileFormat,
    time_unit: Option<TimeUnit>,
) -> Result<CsvOptions> {
    if format != FileFormat::Csv {
        for key in ["header", "delimiter", "null"] {
            if options.get(key).is_some() {
                return Err(Error::Option {
                    message: format!("option \"{key}\" is for format csv only"),
                    hint: None,
                });
            }
        }
    }
    let delimiter = |text: &str| match text.as_bytes() {
        b"\\t" | b"tab" => Some(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Some(*byte),
        _ => None,
    };
    let default = CsvOptions::default();
    Ok(CsvOptions {
        header: options.flag("header", default.header)?,
        delimiter: options
            .parsed("delimiter", delimiter, "It is one ASCII character other than '\"'.")?
            .unwrap_or(default.delimiter),
        null: options.get("null").map_or(default.null, str::to_owned),
        digits: time_unit.map_or(default.digits, Digits::Count),
    })
}
