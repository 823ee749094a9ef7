//! Which files a path means: one file, the matches of a glob, or the files of a directory.
//!
//! # Semantics
//! Files come in name order. A path that exists is meant literally, even with `*` in it. A
//! directory
//! means the files directly in it whose extension is that of the format (or all, if the format is
//! given as an option), without hidden ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::settings::FileFormat;
use crate::connectors::{Error, Result};

/// Returns the files that `path` means now, in name order.
pub fn list(path: &str, only: Option<FileFormat>) -> Result<Vec<PathBuf>> {
    let io_error = |source| Error::Io { what: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => directory(path, only).map_err(io_error),
        Ok(metadata) if metadata.is_file() => Ok(vec![PathBuf::from(path)]),
        // What is read from a pipe cannot be read again where a start goes on.
        Ok(_) => Err(Error::Option {
            message: format!("\"{path}\" is a pipe or a device, not a file"),
            hint: Some(
                "Let it be written into a file, and follow that, or send it by COPY FROM STDIN."
                    .into(),
            ),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_glob(path) => matches(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("could not open \"{path}\": no such file or directory");
            Err(Error::NoFile { message })
        }
        Err(error) => Err(io_error(error)),
    }
}

/// Returns whether a path that does not exist is a pattern.
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

fn directory(path: &str, only: Option<FileFormat>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let wanted = only.is_none_or(|format| FileFormat::of_path(&file) == Some(format));
        if !hidden && wanted && fs::metadata(&file)?.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let wrong = |e: glob::PatternError| Error::Option {
        message: format!("option \"path\" is not a pattern: {e}"),
        hint: None,
    };
    let mut files = Vec::new();
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    for found in glob::glob_with(pattern, options).map_err(wrong)? {
        let file = found
            .map_err(|e| Error::Io { what: e.path().display().to_string(), source: e.into() })?;
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the name of a file without its folders.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
