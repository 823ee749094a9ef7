//! The little language the vectors are written in.
//!
//! `S(k,v): 1:(x,1) 3:(y,2)` is a stream and its rows in order of arrival, each with its time;
//! `table T: 1+a 3-a` a table and its updates; `H=4` the last instant that is looked at. Results
//! are changes `3+(x,1)`, stream elements `3:a`, relations `R(3)={a, b}`, bags `{a, b}`, and runs
//! `p4+row` (seen after step 4) or `p5/2+row` (released at step 5, for instant 2). `*2` is a
//! multiplicity.

use std::collections::BTreeMap;

use regex::Regex;

/// Rows with their multiplicities.
pub type Bag = BTreeMap<String, i64>;

/// Changes: per step or instant, the rows and how often they come (> 0) or go (< 0).
pub type Changes = BTreeMap<(i64, String), i64>;

/// A vector, as it stands in the file.
#[derive(Clone, Debug)]
pub struct Vector {
    /// Its name, e.g. `A1`.
    pub id: String,
    /// Its inputs, in the language above.
    pub inputs: String,
    /// Expected outputs by name.
    pub expect: BTreeMap<String, String>,
}

/// A stream or a table of a vector.
#[derive(Clone, Debug)]
pub struct Input {
    /// Name.
    pub name: String,
    /// Whether it is a table.
    pub table: bool,
    /// Names of its columns, without the event time.
    pub columns: Vec<String>,
    /// Rows in order of arrival, or updates in order of time.
    pub updates: Vec<Update>,
}

/// A row of a stream or an update of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// When.
    pub time: i64,
    /// Whether the row is taken away.
    pub delete: bool,
    /// The row.
    pub row: Vec<String>,
}

/// Reads the vectors of the file.
pub fn vectors(json: &str) -> Vec<Vector> {
    let value: serde_json::Value = serde_json::from_str(json).expect("the file is JSON");
    let text = |v: &serde_json::Value| v.as_str().expect("a string").to_owned();
    let vector = |v: &serde_json::Value| Vector {
        id: text(&v["id"]),
        inputs: text(&v["inputs"]),
        expect: v["expect"]
            .as_object()
            .expect("outputs by name")
            .iter()
            .map(|(name, output)| (name.clone(), text(output)))
            .collect(),
    };
    value.as_array().expect("an array of vectors").iter().map(vector).collect()
}

/// Reads the inputs of a vector. `columns` names those that the text leaves unnamed.
pub fn inputs(text: &str, columns: &[(&str, &[&str])]) -> Vec<Input> {
    let header = regex(r"(table\s+)?([A-Za-z_]\w*)(?:\(([\w,]+)\))?(?: p\d\.\.p\d)?:\s");
    let element = regex(r"(-?\d+)([:+\-])(\([^)]*\)|[^\s,(]+)");
    let times = regex(r"ts ((?:-?\d+)(?:, -?\d+)*)");
    let heads: Vec<_> = header.captures_iter(text).collect();
    let mut inputs = Vec::new();
    for (i, head) in heads.iter().enumerate() {
        let from = head.get(0).expect("group 0 is the match").end();
        let to = heads.get(i + 1).map_or(text.len(), |n| n.get(0).expect("as above").start());
        let body = &text[from..to];
        let mut updates: Vec<Update> = element
            .captures_iter(body)
            .map(|c| Update {
                time: c[1].parse().expect("a time"),
                delete: &c[2] == "-",
                row: c[3].trim_matches(['(', ')']).split(',').map(str::to_owned).collect(),
            })
            .collect();
        if let (true, Some(list)) = (updates.is_empty(), times.captures(body)) {
            let row = vec!["r".to_owned()];
            let update =
                |t: &str| t.parse().map(|time| Update { time, delete: false, row: row.clone() });
            updates = list[1].split(", ").map(|t| update(t).expect("a time")).collect();
        }
        let name = if &head[2] == "arrivals" { "S" } else { &head[2] };
        let given = columns.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
        let columns = match (given, head.get(3)) {
            (Some(given), _) => given.iter().map(|c| (*c).to_owned()).collect(),
            (None, Some(own)) => own.as_str().split(',').map(str::to_owned).collect(),
            (None, None) => vec!["x".to_owned()],
        };
        inputs.push(Input {
            name: name.to_owned(),
            table: head.get(1).is_some(),
            columns,
            updates,
        });
    }
    inputs
}

/// The last instant that is looked at: named, or that of the last row.
pub fn horizon(text: &str) -> i64 {
    if let Some(found) = regex(r"H=(\d+)").captures(text) {
        return found[1].parse().expect("a number");
    }
    let inputs = inputs(text, &[]);
    let times = inputs.iter().flat_map(|i| &i.updates).map(|u| u.time);
    times.max().expect("the vector has rows")
}

/// Reads changes `3+(x,1)`, elements `3:a` and runs `p4+row`.
pub fn changes(text: &str) -> Changes {
    let mut changes = Changes::new();
    for token in tokens(text) {
        *changes.entry((token.at, token.row)).or_default() += token.weight;
    }
    changes
}

/// Reads runs `p5/2+row`: changes by step, with the instant as part of the row.
pub fn released(text: &str) -> Changes {
    let mut changes = Changes::new();
    for token in tokens(text) {
        let instant = token.instant.expect("an instant after the step");
        *changes.entry((token.at, format!("{instant}:{}", token.row))).or_default() += token.weight;
    }
    changes
}

/// Reads `R(3)={a, b}; ..`.
pub fn relations(text: &str) -> BTreeMap<i64, Bag> {
    let one = regex(r"R\((-?\d+)\)=(\{[^}]*\})");
    one.captures_iter(text).map(|c| (c[1].parse().expect("an instant"), bag(&c[2]))).collect()
}

/// Reads `{a, (b,1)*2}`.
pub fn bag(text: &str) -> Bag {
    let mut bag = Bag::new();
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    for row in inner.split(", ").filter(|row| !row.is_empty()) {
        let (row, count) = multiplied(row);
        *bag.entry(row.to_owned()).or_default() += count;
    }
    bag
}

struct Token {
    at: i64,
    instant: Option<i64>,
    weight: i64,
    row: String,
}

fn tokens(text: &str) -> Vec<Token> {
    let token = regex(r"^p?(-?\d+)(?:/(-?\d+))?([+\-:])(\S+)$");
    let read = |t: &str| {
        let c = token.captures(t.trim()).unwrap_or_else(|| panic!("not a change: {t}"));
        let (row, count) = multiplied(c.get(4).expect("the row").as_str());
        Token {
            at: c[1].parse().expect("a number"),
            instant: c.get(2).map(|i| i.as_str().parse().expect("a number")),
            weight: if &c[3] == "-" { -count } else { count },
            row: row.to_owned(),
        }
    };
    text.split(';').filter(|t| !t.trim().is_empty()).map(read).collect()
}

fn multiplied(row: &str) -> (&str, i64) {
    match row.rsplit_once('*') {
        Some((row, count)) => (row, count.parse().expect("a multiplicity")),
        None => (row, 1),
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is right")
}
