//! Counts of sources: what comes in is taken, refused or an error, to the row.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::support::client::Client;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

/// How many of the lines of a file are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    taken: u64,
    late: u64,
    null: u64,
    ahead: u64,
    bad: u64,
}

impl Counts {
    fn refused(self) -> u64 {
        self.late + self.null + self.ahead
    }
}

/// Lines of every kind in an order of chance, as NDJSON or CSV, and how many there are of each.
/// Event time rises by a second per line in time; late lines lie a day back.
fn lines(count: usize, csv: bool, from: u64) -> (Vec<u8>, Counts) {
    let mut random = Random::new(from + 1);
    let (mut bytes, mut counts) = (Vec::new(), Counts::default());
    for id in from..from + count as u64 {
        // The first row makes the watermark that late ones miss.
        let kind = if id == 0 { 0 } else { random.below(12) };
        let (time, counter) = match kind {
            0..=3 => (Some(format!("2024-05-02 {}", clock(id))), &mut counts.taken),
            4 => (Some(format!("2024-05-01 {}", clock(id))), &mut counts.late),
            5 => (None, &mut counts.null),
            6 => (Some("2999-01-01 00:00:00".to_owned()), &mut counts.ahead),
            _ => (Some(format!("2024-05-02 {}", clock(id))), &mut counts.bad),
        };
        *counter += 1;
        let mut line = String::new();
        let time = time.unwrap_or_default();
        let _ = match (csv, kind) {
            (true, 7) => write!(line, "{id},short"),
            (true, 8) => write!(line, "{id};w;1;{time}"),
            (true, 9) => write!(line, "{id},\"a\nb\",1.5x,{time}"),
            (true, 10) => write!(line, ",w,1,{time}"),
            (true, 11) => write!(line, "{id},{},1,{time}", "much too long".repeat(20)),
            (true, _) => write!(line, "{id},\"w \"\"{kind}\"\"\n\",{kind},{time}"),
            (false, 7) => write!(line, "{{\"id\": {id}, \"at\""),
            (false, 8) => write!(line, "{{\"id\": 99{id}00000000000, \"at\": \"{time}\"}}"),
            (false, 9) => write!(line, "{{\"id\": {id}, \"at\": {id}}}"),
            (false, 10) => write!(line, "{{\"word\": [], \"id\": {id}, \"at\": \"{time}\"}}"),
            (false, 11) => {
                write!(line, "{{\"id\": {id}, \"more\": \"{}\"}}", "too long".repeat(99))
            }
            (false, 5) => write!(line, "{{\"id\": {id}, \"at\": null, \"more\": {{\"id\": []}}}}"),
            (false, _) => write!(line, "{{\"id\": {id}, \"word\": \"é\", \"at\": \"{time}\"}}"),
        };
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice([&b"\n"[..], b"\r\n", b"\n\n"][random.below(3)]);
    }
    (bytes, counts)
}

fn clock(id: u64) -> String {
    format!("{:02}:{:02}:{:02}", id / 3600 % 24, id / 60 % 60, id % 60)
}

fn create(client: &mut Client, name: &str, path: &Path, options: &str) {
    client.run(&format!(
        "CREATE STREAM {name} (id INTEGER NOT NULL, word VARCHAR(20), v DOUBLE PRECISION, \
         at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '1 hour' MAX AHEAD INTERVAL '1 day', \
         LATE INTO {name}_late) \
         WITH (connector = 'file', path = '{}', max_line = 500 {options})",
        path.display()
    ));
}

/// What the server counted of a stream.
fn counted(client: &mut Client, name: &str) -> Counts {
    let sql = format!(
        "SELECT s.rows, late, null_time, ahead, bad_rows, f.rows \
         FROM hw.streams s JOIN hw.sources f ON s.name = f.name WHERE s.name = '{name}'"
    );
    let row = client.run(&sql).rows.remove(0);
    let number = |i: usize| row[i].as_ref().and_then(|v| v.parse().ok()).expect("a number");
    let counts = Counts {
        taken: number(0),
        late: number(1),
        null: number(2),
        ahead: number(3),
        bad: number(4),
    };
    assert_eq!(number(5), counts.taken + counts.refused(), "hw.sources counts what it delivered");
    counts
}

fn rows(client: &mut Client, relation: &str) -> u64 {
    let value = client.run(&format!("SELECT count(*) FROM {relation}")).value();
    value.and_then(|v| v.parse().ok()).expect("a count")
}

/// Checks every place that tells of a stream's rows.
fn check(client: &mut Client, name: &str, expected: Counts) {
    assert_eq!(counted(client, name), expected, "{name}");
    assert_eq!(rows(client, name), expected.taken, "{name}");
    assert_eq!(rows(client, &format!("{name}_late")), expected.refused(), "{name}");
    let late = rows(client, &format!("hw.late_rows WHERE stream = '{name}'"));
    assert_eq!(late, expected.refused().min(1_000), "the newest refused rows of {name} are kept");
    let errors = rows(client, &format!("hw.errors WHERE object = '{name}'"));
    assert_eq!(errors, expected.bad, "{name}");
    let places =
        format!("(SELECT DISTINCT place FROM hw.errors WHERE object = '{name}') AS places");
    assert_eq!(rows(client, &places), expected.bad, "every bad line of {name} has its place");
}

#[test]
fn what_comes_in_is_taken_refused_or_an_error() {
    let server = Server::start();
    let mut client = server.connect();
    for (name, csv) in [("json", false), ("csv", true)] {
        let (mut bytes, counts) = lines(10_000, csv, 0);
        if csv {
            bytes.splice(0..0, *b"\xEF\xBB\xBFid,word,v,at\r\n");
        }
        let path = server.scratch().join(format!("messy.{}", if csv { "csv" } else { "ndjson" }));
        std::fs::write(&path, bytes).expect("the file can be written");
        create(&mut client, name, &path, ", wait = true");
        check(&mut client, name, counts);
    }
}

#[test]
fn a_file_that_grows_is_counted_to_the_row() {
    let server = Server::start();
    let mut client = server.connect();
    let path = server.scratch().join("grows.ndjson");
    create(&mut client, "grows", &path, ", follow = true");
    let mut file = std::fs::File::create(&path).expect("the file can be made");
    let mut expected = Counts::default();
    for round in 0..20 {
        let (bytes, counts) = lines(200, false, round * 200);
        // Pieces end anywhere, in the middle of lines and of characters.
        for piece in bytes.chunks(7_001) {
            file.write_all(piece).expect("the file can grow");
            file.flush().expect("the file can grow");
        }
        expected.taken += counts.taken;
        expected.late += counts.late;
        expected.null += counts.null;
        expected.ahead += counts.ahead;
        expected.bad += counts.bad;
    }
    // When the last line has come, all have.
    writeln!(file, "{{\"id\": -1, \"at\": \"2024-05-02 23:00:00\"}}").expect("the file can grow");
    expected.taken += 1;
    let feed = Subscription::start(server.connect(), "SUBSCRIBE grows WITH (SNAPSHOT = true)");
    let mut feed = feed.unwrap_or_else(|e| panic!("{e}"));
    loop {
        match feed.next().unwrap_or_else(|e| panic!("{e}")) {
            Line::Change { row, .. } if row[0].as_deref() == Some("-1") => break,
            Line::Change { .. } | Line::Progress(_) => {}
        }
    }
    check(&mut client, "grows", expected);
}
