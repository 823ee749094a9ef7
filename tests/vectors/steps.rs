//! Vectors that are told step by step: rows and heartbeats in their order of arrival.

use crate::notation::{self, Input, Update, Vector};

/// What happens at a step.
#[derive(Clone, Debug)]
pub enum Action {
    /// A row arrives at the stream.
    Row(Update),
    /// The stream's source promises that nothing earlier comes.
    Heartbeat(i64),
    /// Nothing but time passes.
    Pass,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number in the expected output.
    pub label: i64,
    /// Which stream.
    pub stream: String,
    /// What happens.
    pub action: Action,
}

/// A vector told step by step.
#[derive(Clone, Debug)]
pub struct Story {
    /// Its streams; their rows stand in `steps`.
    pub streams: Vec<Input>,
    /// Name of the event-time column.
    pub time: &'static str,
    /// `WATERMARK FOR ts AS ts - delay`.
    pub delay: i64,
    /// `ALLOWED LATENESS`.
    pub lateness: i64,
    /// What stands behind `WATERMARK FOR` as well.
    pub options: &'static str,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Reads the story of a vector.
pub fn story(vector: &Vector, columns: &[(&str, &[&str])]) -> Story {
    match vector.id.as_str() {
        "F14" => {
            let told = "p1 A@1 k; p2 A@9 z; p3 B@2 k; p4 heartbeat B 5  (delay 0)";
            assert_eq!(vector.inputs, told, "the story of F14 is told here as well");
            let named = |name: &str| columns.iter().find(|(n, _)| *n == name).expect("named").1;
            let streams = vec![stream("A", named("A")), stream("B", named("B"))];
            let steps = vec![
                row(1, "A", 1, &["k"]),
                row(2, "A", 9, &["z"]),
                row(3, "B", 2, &["k"]),
                heartbeat(4, "B", 5),
            ];
            Story { streams, time: "ts", delay: 0, lateness: 0, options: "", steps }
        }
        "F15" => auction(vector),
        "F17" => {
            let told = "p1 1:a p2 2:b p3 2:c p4 heartbeat 2 p5 heartbeat 3 (delay 0)";
            assert_eq!(vector.inputs, told, "the story of F17 is told here as well");
            let steps = vec![
                row(1, "S", 1, &["a"]),
                row(2, "S", 2, &["b"]),
                row(3, "S", 2, &["c"]),
                heartbeat(4, "S", 2),
                heartbeat(5, "S", 3),
            ];
            let streams = vec![stream("S", &["x"])];
            Story { streams, time: "ts", delay: 0, lateness: 0, options: "", steps }
        }
        "F13" => partitions(vector),
        id => {
            let delay = match id {
                "F6" => 10,
                "F11" => 20,
                "F7" | "F8" => 2,
                "F9" | "F10" | "F16" => 0,
                _ => panic!("{id} is not told step by step"),
            };
            let mut streams = notation::inputs(&vector.inputs, columns);
            let updates = std::mem::take(&mut streams[0].updates);
            let step = |(label, update)| Step {
                label,
                stream: "S".to_owned(),
                action: Action::Row(update),
            };
            let lateness = if id == "F9" { 3 } else { 0 };
            let steps = (1..).zip(updates).map(step).collect();
            Story { streams, time: "ts", delay, lateness, options: "", steps }
        }
    }
}

/// The auction of "One SQL to Rule Them All"; only heartbeats move its watermark.
fn auction(vector: &Vector) -> Story {
    let told = "ptime: 8:07 WM 8:05 | 8:08 (8:07,$2,A) | 8:12 (8:11,$3,B) | 8:13 (8:05,$4,C) | \
                8:14 WM 8:08 | 8:15 (8:09,$5,D) | 8:16 WM 8:12 | 8:17 (8:13,$1,E) | \
                8:18 (8:17,$6,F) | 8:21 WM 8:20";
    assert_eq!(vector.inputs, told, "the story of F15 is told here as well");
    let steps = vec![
        heartbeat(807, "S", 805),
        row(808, "S", 807, &["2", "A"]),
        row(812, "S", 811, &["3", "B"]),
        row(813, "S", 805, &["4", "C"]),
        heartbeat(814, "S", 808),
        row(815, "S", 809, &["5", "D"]),
        heartbeat(816, "S", 812),
        row(817, "S", 813, &["1", "E"]),
        row(818, "S", 817, &["6", "F"]),
        heartbeat(821, "S", 820),
    ];
    let streams = vec![stream("S", &["price", "item"])];
    Story { streams, time: "bidtime", delay: 1_000, lateness: 0, options: "", steps }
}

/// Two partitions, of which one is idle for a while. A partition is there once it has had a row, so
/// P1 has one before the story, at 0, where the vectors begin.
fn partitions(vector: &Vector) -> Story {
    let told = "p1 P0@5 a; p2 P1 idle; p3 P0@8 b; p4 P1@6 c; p5 P0@10 d; p6 P1@12 e  (delay 0)";
    assert_eq!(vector.inputs, told, "the story of F13 is told here as well");
    let steps = vec![
        row(0, "S", 0, &["P1", "first"]),
        row(1, "S", 5, &["P0", "a"]),
        Step { label: 2, stream: "S".to_owned(), action: Action::Pass },
        row(3, "S", 8, &["P0", "b"]),
        row(4, "S", 6, &["P1", "c"]),
        row(5, "S", 10, &["P0", "d"]),
        row(6, "S", 12, &["P1", "e"]),
    ];
    // A step takes a minute.
    let options = " IDLE TIMEOUT INTERVAL '110 seconds', PARTITION KEY (p)";
    let streams = vec![stream("S", &["p", "x"])];
    Story { streams, time: "ts", delay: 0, lateness: 0, options, steps }
}

fn stream(name: &str, columns: &[&str]) -> Input {
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    Input { name: name.to_owned(), table: false, columns, updates: Vec::new() }
}

fn row(label: i64, stream: &str, time: i64, row: &[&str]) -> Step {
    let row = row.iter().map(|v| (*v).to_owned()).collect();
    let action = Action::Row(Update { time, delete: false, row });
    Step { label, stream: stream.to_owned(), action }
}

fn heartbeat(label: i64, stream: &str, at: i64) -> Step {
    Step { label, stream: stream.to_owned(), action: Action::Heartbeat(at) }
}
