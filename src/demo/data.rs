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
    /// Finds the files or writes them below `data_dir`.
    pub fn provide(data_dir: &Path) -> io::Result<Self> {
        let own = data_dir.join("demo");
        let place = |name: &str, content: &[u8]| {
            let found = Path::new(REPOSITORY).join(name);
            if fs::metadata(&found).is_ok_and(|file| file.len() == content.len() as u64) {
                return Ok(found);
            }
            fs::create_dir_all(&own)?;
            let path = own.join(name);
            fs::write(&path, content)?;
            io::Result::Ok(path)
        };
        Ok(Self {
            departures: place("departures-week.ndjson", DEPARTURES)?,
            airports: place("airports.csv", AIRPORTS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_there_or_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::provide(dir.path()).unwrap();
        assert_eq!(fs::read(files.departures).unwrap(), DEPARTURES);
        assert_eq!(fs::read(files.airports).unwrap(), AIRPORTS);
    }
}
