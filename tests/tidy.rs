//! The code keeps its own rules: who may import whom, sizes, words, links.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The ground floor and some more.
macro_rules! with_ground {
    ($($module:literal),*) => {
        ["delta", "time", "error", "fault", "clock", "config", "size", "telemetry", $($module),*]
    };
}

/// Which modules a module may import, and which crates it must not name. Floors from the ground up.
const FLOORS: [(&str, &[&str], &[&str]); 25] = [
    ("error", &[], &["tokio"]),
    ("time", &["error"], &["tokio"]),
    ("fault", &[], &["tokio"]),
    ("delta", &["error", "time"], &["tokio"]),
    ("clock", &["error", "time"], &["tokio"]),
    ("size", &[], &["tokio"]),
    ("config", &["error", "time", "clock", "size"], &[]),
    ("telemetry", &["error", "time", "clock", "config"], &[]),
    ("sql", &GROUND, &["tokio", "pgwire"]),
    ("data_dir", &with_ground!["storage"], &["tokio", "pgwire", "sqlparser"]),
    ("storage", &GROUND, &["tokio", "pgwire", "sqlparser"]),
    // Of sql only how names, dates and values are written.and times are shown.
    ("functions", &with_ground!["sql"], &["tokio", "pgwire"]),
    ("planner", &with_ground!["sql", "functions"], &["tokio", "pgwire"]),
    (
        "operators",
        &["delta", "time", "error", "storage", "functions"],
        &["tokio", "tracing", "sqlparser"],
    ),
    (
        "windows",
        &["delta", "time", "error", "storage", "operators"],
        &["tokio", "tracing", "sqlparser"],
    ),
    ("connectors", &GROUND, &["pgwire", "sqlparser"]),
    (
        "runtime",
        // Of sql only the oids of the catalog.
        &with_ground!["sql", "planner", "operators", "windows", "storage", "connectors"],
        &["pgwire", "sqlparser"],
    ),
    (
        "engine",
        // Of windows only their definition, of operators only how a row shows as text.
        &with_ground![
            "sql",
            "data_dir",
            "functions",
            "planner",
            "runtime",
            "storage",
            "connectors",
            "windows",
            "operators"
        ],
        &["pgwire"],
    ),
    ("wire", &with_ground!["engine", "sql"], &[]),
    ("http", &with_ground!["engine"], &["pgwire", "sqlparser"]),
    ("cli", &["config"], &["tokio"]),
    ("server", &with_ground!["engine", "wire", "http", "data_dir"], &["pgwire", "sqlparser"]),
    ("backup", &with_ground!["engine", "data_dir", "storage"], &["pgwire", "sqlparser"]),
    ("demo", &with_ground!["cli", "server"], &["pgwire", "sqlparser"]),
    ("program", &with_ground!["cli", "server", "demo", "backup"], &["pgwire", "sqlparser"]),
];

/// The ground floor, which everything above may import.
const GROUND: [&str; 8] =
    ["delta", "time", "error", "fault", "clock", "config", "size", "telemetry"];

/// Crates that are known in one place only.
const FENCED: [(&str, &str); 2] =
    [("rdkafka", "src/connectors/kafka"), ("sled", "src/storage/sled.rs")];

/// Words with a better one in this field.
const WORDS: [(&str, &str); 7] = [
    ("mutation", "change"),
    ("event_time_ms", "timestamp"),
    ("low-water", "watermark"),
    ("shuffle", "exchange"),
    ("dispatcher", "exchange"),
    ("subtask", "task"),
    ("changelog row", "delta"),
];

/// Names of files that say nothing.
const NAMES: [&str; 5] = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"];

/// Lines of a file, its tests not counted.
const LINES: usize = 500;

/// Columns of a line.
const COLUMNS: usize = 100;

/// A file of the project.
struct File {
    /// Its path from the project's root.
    path: String,
    /// Its content.
    text: String,
}

#[test]
fn modules_import_only_floors_below() {
    let imports = Regex::new(r"\bcrate::(?:\{([^;]*?)\};|(\w+))").expect("the pattern is right");
    let group = Regex::new(r"(?:^|,)\s*(\w+)").expect("the pattern is right");
    let mut found = String::new();
    for file in files("src", "rs") {
        let Some(floor) = floor(&file.path) else { continue };
        let code = code(&file.text);
        for import in imports.captures_iter(&code) {
            let modules: Vec<String> = match (import.get(1), import.get(2)) {
                (Some(inner), _) => {
                    let inner = without_braces(inner.as_str());
                    group.captures_iter(&inner).map(|c| c[1].to_owned()).collect()
                }
                (None, Some(one)) => vec![one.as_str().to_owned()],
                (None, None) => Vec::new(),
            };
            for module in modules.iter().filter(|m| FLOORS.iter().any(|f| f.0 == *m)) {
                if *module != floor.0 && !floor.1.contains(&module.as_str()) {
                    let _ = writeln!(found, "{}: {} imports {module}", file.path, floor.0);
                }
            }
        }
    }
    assert!(found.is_empty(), "imports of a floor that is not below:\n{found}");
}

#[test]
fn every_module_has_its_floor() {
    for file in files("src", "rs") {
        let root = file.path == "src/main.rs" || file.path == "src/lib.rs";
        assert!(root || floor(&file.path).is_some(), "{} stands on no floor", file.path);
    }
}

#[test]
fn crates_stay_behind_their_fences() {
    let mut found = String::new();
    for file in files("src", "rs") {
        let code = code(&file.text);
        let names = |name: &str| {
            code.contains(&format!("{name}::")) || code.contains(&format!("use {name};"))
        };
        let banned = floor(&file.path).map_or(&[][..], |f| f.2);
        for name in banned.iter().filter(|n| names(n)) {
            let _ = writeln!(found, "{} names {name}", file.path);
        }
        for (name, place) in
            FENCED.iter().filter(|(n, place)| names(n) && !file.path.starts_with(place))
        {
            let _ = writeln!(found, "{} names {name}, which only {place} may", file.path);
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn every_file_says_what_it_is() {
    let mut found = String::new();
    for file in sources() {
        let first = file.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || !first.ends_with('.') {
            let _ = writeln!(found, "{}: {first}", file.path);
        }
        if NAMES.iter().any(|n| file.path.ends_with(&format!("/{n}"))) {
            let _ = writeln!(found, "{}: a name that says nothing", file.path);
        }
    }
    assert!(found.is_empty(), "first lines are `//! A sentence.`:\n{found}");
}

#[test]
fn files_and_lines_are_short() {
    let mut found = String::new();
    for file in sources() {
        for (i, line) in file.text.lines().enumerate() {
            if line.chars().count() > COLUMNS {
                // A table of test data may be wider.
                if file.path.ends_with("tests.rs") || file.path.starts_with("tests/") {
                    continue;
                }
                let _ = writeln!(found, "{}:{}: longer than {COLUMNS} columns", file.path, i + 1);
            }
        }
        let lines = before_tests(&file.text).lines().count();
        if file.path.starts_with("src/") && !file.path.ends_with("tests.rs") && lines > LINES {
            let _ = writeln!(found, "{}: {lines} lines, more than {LINES}", file.path);
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn words_are_those_of_the_field() {
    let unfinished = Regex::new(r"\b(TODO|FIXME|XXX|dbg!)").expect("the pattern is right");
    let mut found = String::new();
    for file in sources().into_iter().filter(|f| f.path != "tests/tidy.rs") {
        for (i, line) in file.text.lines().enumerate() {
            if unfinished.is_match(line) {
                let _ = writeln!(found, "{}:{}: unfinished: {line}", file.path, i + 1);
            }
            let lower = line.to_lowercase();
            for (word, better) in WORDS {
                if file.path.starts_with("src/") && lower.contains(word) {
                    let _ = writeln!(found, "{}:{}: {word}: say {better}", file.path, i + 1);
                }
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("the pattern is right");
    let mut found = String::new();
    for file in files(".", "md") {
        let folder = Path::new(&file.path).parent().expect("a file is in a folder").to_owned();
        for target in link.captures_iter(&without_fences(&file.text)).map(|c| c[1].to_owned()) {
            let outside = ["http://", "https://", "mailto:", "#"];
            if outside.iter().any(|o| target.starts_with(o)) {
                continue;
            }
            let path = target.split('#').next().unwrap_or_default();
            if !root().join(&folder).join(path).exists() {
                let _ = writeln!(found, "{}: {target}", file.path);
            }
        }
    }
    assert!(found.is_empty(), "links to nothing:\n{found}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The floor of a file of `src/`; `main.rs` and `lib.rs` stand above all.
fn floor(
    path: &str,
) -> Option<&'static (&'static str, &'static [&'static str], &'static [&'static str])> {
    let module = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    FLOORS.iter().find(|f| f.0 == module)
}

/// All Rust files.
fn sources() -> Vec<File> {
    ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, "rs")).collect()
}

/// The files below a folder, without what is built or hidden.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("entries can be read").path();
            let name =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name == "highwater-data" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let text = std::fs::read_to_string(&path).expect("files are UTF-8");
                let path = path.strip_prefix(root()).expect("it is below the root");
                let path = path.to_string_lossy().trim_start_matches("./").to_owned();
                found.insert(path.clone(), File { path, text });
            }
        }
    }
    found.into_values().collect()
}

/// A file without comments and tests.
fn code(text: &str) -> String {
    let lines = before_tests(text).lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
}

/// `a::{b, c}, d` becomes `a::, d`.
fn without_braces(text: &str) -> String {
    let mut depth = 0;
    let mut kept = String::new();
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

/// Markdown without its code blocks.
fn without_fences(text: &str) -> String {
    let parts = text.split("```").step_by(2);
    parts.collect::<Vec<_>>().join("\n")
}
