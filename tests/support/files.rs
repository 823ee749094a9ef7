//! What sinks have written into files.

use std::fs;
use std::path::Path;

/// The lines of all files below a directory, sorted; none if it is not there. What begins with a
/// point is no file of rows.
pub fn lines_below(dir: &Path) -> Vec<String> {
    let (mut all, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.expect("a directory can be read").path();
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                open.push(path);
            } else if !hidden {
                let text = fs::read_to_string(&path).expect("a file can be read");
                all.extend(text.lines().map(str::to_owned));
            }
        }
    }
    all.sort();
    all
}
