//! The files of the demo: those of the repository if they are there, or else copies made from this binary.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the repository keeps them.
const REPOSITORY: &str = "sql/examples/data";

const DEPARTURES: &[u8] = include_bytes!("../../sql/examples/data/departures-week.ndjson");
const AIRPORTS: &[u8] = include_bytes!("../../sql/examples/data/airports.csv");

/// Where the connector finds the demo's files.
pub struct Files {
    /// Departures in the order in which they happened, a JSON object per line.
    pub departures: PathBuf,
    /// Airports, CSV.
    pub airports: PathBuf,
}

impl Files {
    /// Finds the files or writes them below `data_dir`; with `limit` only so many departures.
    pub fn provide(data_dir: &Path, limit: Option<usize>) -> io::Result<Self> {
        let own = data_dir.join("demo");
        let place = |name: &str, content: &[u8], cut: bool| {
            let found = Path::new(REPOSITORY).join(name);
            if !cut && fs::metadata(&found).is_ok_and(|file| file.len() == content.len() as u64) {
                return Ok(found);
            }
            fs::create_dir_all(&own)?;
            let path = own.join(name);
            fs::write(&path, content)?;
            io::Result::Ok(path)
        };
        let departures = first_lines(DEPARTURES, limit);
        Ok(Self {
            departures: place("departures-week.ndjson", departures, limit.is_some())?,
            airports: place("airports.csv", AIRPORTS, false)?,
        })
    }
}

fn first_lines(text: &[u8], limit: Option<usize>) -> &[u8] {
    let Some(limit) = limit else { return text };
    let length = text.split_inclusive(|byte| *byte == b'\n').take(limit).map(<[u8]>::len).sum();
    &text[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_cuts_after_so_many_lines() {
        assert_eq!(first_lines(b"a\nb\nc\n", Some(2)), b"a\nb\n");
        assert_eq!(first_lines(b"a\nb", Some(9)), b"a\nb");
        assert_eq!(first_lines(b"a\nb\n", None), b"a\nb\n");
    }

    #[test]
    fn a_cut_file_is_written_below_the_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::provide(dir.path(), Some(3)).unwrap();
        assert!(files.departures.starts_with(dir.path()));
        let text = fs::read_to_string(files.departures).unwrap();
        assert_eq!(text.lines().count(), 3);
    }
}
