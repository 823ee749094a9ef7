//! The examples and the README tell the truth: their statements run, and give what they print.
//!
//! # Semantics
//! A result is printed behind its statement, as psql prints it, in comments; a result of one value
//! may stand behind the semicolon. Statements run one after the other from the root of the
//! repository, as the README says. With psql installed the examples run through it too.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::client::{Answer, Client};
use support::server::Server;
use support::subscription::{Line, Subscription};

/// A statement and what is printed behind it.
struct Step {
    sql: String,
    /// The comments up to the next statement, without `-- `; a blank line ends a printed result.
    comments: Vec<String>,
    /// The comment behind the semicolon.
    value: Option<String>,
}

impl Step {
    /// The printed result: from the line above the ruler to the end of the comment.
    fn table(&self) -> Option<&[String]> {
        let is_ruler = |line: &String| line.len() > 2 && line.trim_matches(['-', '+']).is_empty();
        let ruler = self.comments.iter().position(is_ruler)?;
        let table = &self.comments[ruler - 1..];
        let end = table.iter().position(String::is_empty).unwrap_or(table.len());
        Some(&table[..end])
    }
}

/// Takes a script apart. Statements end with a semicolon at the end of a line.
fn steps(script: &str) -> Vec<Step> {
    let (mut steps, mut sql, mut quoted) = (Vec::<Step>::new(), String::new(), false);
    for line in script.lines() {
        let (code, comment) = split_comment(line, &mut quoted);
        if sql.is_empty() && code.trim().is_empty() {
            let text = comment.map(|c| c.strip_prefix(' ').unwrap_or(c).trim_end().to_owned());
            steps.last_mut().into_iter().for_each(|step| {
                step.comments.push(text.clone().unwrap_or_default());
            });
            continue;
        }
        sql.push_str(code);
        sql.push('\n');
        if !quoted && code.trim_end().ends_with(';') {
            let value = comment.map(|c| c.trim().to_owned());
            steps.push(Step { sql: std::mem::take(&mut sql), comments: Vec::new(), value });
        }
    }
    assert!(sql.is_empty(), "a statement has no end: {sql}");
    steps
}

fn split_comment<'a>(line: &'a str, quoted: &mut bool) -> (&'a str, Option<&'a str>) {
    for (at, character) in line.char_indices() {
        if character == '\'' {
            *quoted = !*quoted;
        } else if !*quoted && line[at..].starts_with("--") {
            return (&line[..at], Some(&line[at + 2..]));
        }
    }
    (line, None)
}

/// A result as psql prints it, without the number of rows.
fn printed(answer: &Answer) -> Vec<String> {
    let cell = |row: &[Option<String>], i: usize| row[i].clone().unwrap_or_default();
    let widths: Vec<usize> = (0..answer.columns.len())
        .map(|i| {
            let values = answer.rows.iter().map(|row| cell(row, i).chars().count());
            values.chain([answer.columns[i].name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<String>| format!(" {}", cells.join(" | ")).trim_end().to_owned();
    let mut lines = vec![
        line(answer.columns.iter().zip(&widths).map(|(c, w)| format!("{:^w$}", c.name)).collect()),
        widths.iter().map(|w| "-".repeat(w + 2)).collect::<Vec<_>>().join("+"),
    ];
    for row in &answer.rows {
        let cells = widths.iter().enumerate().map(|(i, w)| {
            let numeric = [20, 21, 23, 26, 700, 701, 1700].contains(&answer.columns[i].oid);
            let value = cell(row, i);
            if numeric { format!("{value:>w$}") } else { format!("{value:<w$}") }
        });
        lines.push(line(cells.collect()));
    }
    lines
}

/// Runs statements and compares what they give; returns how many results were compared.
fn run(client: &mut Client, steps: &[Step]) -> usize {
    let mut compared = 0;
    for step in steps {
        let answer = client.run(&step.sql);
        if let Some(table) = step.table() {
            let (actual, expected) = (printed(&answer).join("\n"), table.join("\n"));
            assert_eq!(actual, expected, "{}\ngives\n{actual}\nand not\n{expected}", step.sql);
            compared += 1;
        }
        if let Some(value) = &step.value {
            assert_eq!(answer.value().as_ref(), Some(value), "{}", step.sql);
            compared += 1;
        }
    }
    compared
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::set_current_dir(root).expect("the root of the repository is there");
    root.to_owned()
}

fn examples() -> Vec<(PathBuf, Vec<Step>)> {
    let folder = root().join("sql/examples");
    let entries = std::fs::read_dir(&folder).expect("the folder can be read");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("its entries too").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "sql"));
    files.sort();
    assert!(!files.is_empty(), "there are examples in {}", folder.display());
    let read = |file: &PathBuf| std::fs::read_to_string(file).expect("an example can be read");
    files.into_iter().map(|file| (file.clone(), steps(&read(&file)))).collect()
}

#[test]
fn examples_give_what_they_print() {
    for (file, steps) in examples() {
        let server = Server::start();
        let compared = run(&mut server.connect(), &steps);
        assert!(compared >= 5, "{} prints {compared} results only", file.display());
    }
}

#[test]
fn psql_prints_what_the_examples_print() {
    if Command::new("psql").arg("--version").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "psql is missing, and CI needs it");
        return;
    }
    for (file, steps) in examples() {
        let server = Server::start();
        let mut psql = Command::new("timeout");
        psql.args(["60", "psql", "-X", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.args(["-h", "127.0.0.1", "-p", &server.postgres().port().to_string()]);
        let output = psql.arg("-f").arg(&file).env("PAGER", "").output().expect("psql runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {errors}", file.display());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        for table in steps.iter().filter_map(Step::table) {
            let table = table.join("\n");
            assert!(text.contains(&table), "{}: psql does not print\n{table}", file.display());
        }
    }
}

/// The blocks of a language in a text of Markdown.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut parts = text.split("\n```");
    parts.next();
    while let Some(block) = parts.next() {
        let (first, rest) = block.split_once('\n').expect("a block has lines");
        if first == language {
            blocks.push(rest.to_owned());
        }
        parts.next();
    }
    blocks
}

#[test]
fn the_readme_gives_what_it_prints() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README is there");
    let session = blocks(&readme, "").concat();
    assert!(session.contains("psql -h 127.0.0.1 -p 4566 -f sql/examples/flights.sql"));
    let server = Server::start();
    let mut client = server.connect();
    let flights = examples().into_iter().find(|(file, _)| file.ends_with("flights.sql"));
    run(&mut client, &flights.expect("the session runs it").1);
    let mut compared = 0;
    for block in blocks(&readme, "sql") {
        for step in steps(&block) {
            if step.sql.starts_with("COPY (SUBSCRIBE") {
                watch(&server, &step, inserted(&readme));
                compared += 1;
            } else {
                compared += run(&mut client, &[step]);
            }
        }
    }
    assert!(compared >= 3, "the README prints {compared} results only");
}

/// The statement that the README runs in another session.
fn inserted(readme: &str) -> &str {
    let from = readme.find("`INSERT INTO").expect("the README has another session") + 1;
    let rest = &readme[from..];
    &rest[..rest.find('`').expect("the statement ends")]
}

/// Compares the lines of a feed: its first half is there at once, the rest after the insertion.
fn watch(server: &Server, step: &Step, insert: &str) {
    let query = step.sql.strip_prefix("COPY (").and_then(|q| q.split_once(") TO STDOUT"));
    let (query, _) = query.expect("a SUBSCRIBE in COPY");
    let mut feed = Subscription::start(server.connect(), query).unwrap_or_else(|e| panic!("{e}"));
    // Behind the time stand the weight and the columns, apart by two spaces or more.
    let fields = |line: &String| -> Vec<String> {
        let fields = line.split("  ").map(str::trim).filter(|field| !field.is_empty());
        fields.skip(1).map(str::to_owned).collect()
    };
    let expected: Vec<Vec<String>> = step.comments.iter().map(fields).collect();
    let (before, after) = expected.split_at(expected.len() / 2);
    let mut read = |count: usize| {
        let line = |line: Line| match line {
            Line::Change { diff, row, .. } => {
                let row = row.into_iter().map(Option::unwrap_or_default);
                [diff.to_string()].into_iter().chain(row).collect::<Vec<_>>()
            }
            Line::Progress(time) => panic!("progress at {time} was not asked for"),
        };
        let lines = (0..count).map(|_| feed.next().map(line));
        let mut lines = lines.collect::<Result<Vec<_>, _>>().unwrap_or_else(|e| panic!("{e}"));
        lines.sort();
        lines
    };
    let sorted = |lines: &[Vec<String>]| {
        let mut lines = lines.to_vec();
        lines.sort();
        lines
    };
    assert_eq!(read(before.len()), sorted(before));
    server.connect().run(insert);
    assert_eq!(read(after.len()), sorted(after));
}
