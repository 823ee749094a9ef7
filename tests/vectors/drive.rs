//! Runs one check of one vector on a server.

use std::collections::{BTreeMap, BTreeSet};

use crate::notation::{self, Bag, Changes, Input, Update, Vector};
use crate::plan::{COLUMNS, Check, How};
use crate::steps::{Action, Step, Story, story};
use crate::support::random::Random;
use crate::support::server::{Options, Server};
use crate::world::{TimeType, World, add, difference};

/// Longer than any of the vectors.
const LATEST: i64 = 10_000;

/// How the rows of the streams are brought in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Seed of a random order of arrival; the listed order without.
    pub shuffled: Option<u64>,
    /// In what pieces.
    pub pieces: Pieces,
}

/// The number of statements the rows are inserted with.
#[derive(Clone, Copy, Debug)]
pub enum Pieces {
    /// One per stream.
    One,
    /// One per row.
    Each,
    /// A random number, by seed.
    Random(u64),
}

/// The ways every vector over streams is run: re-batched, and permuted within the watermark's
/// bound.
pub const ARRIVALS: [Arrival; 8] = [
    Arrival { shuffled: None, pieces: Pieces::One },
    Arrival { shuffled: None, pieces: Pieces::Each },
    Arrival { shuffled: None, pieces: Pieces::Random(1) },
    Arrival { shuffled: None, pieces: Pieces::Random(2) },
    Arrival { shuffled: Some(3), pieces: Pieces::One },
    Arrival { shuffled: Some(4), pieces: Pieces::Each },
    Arrival { shuffled: Some(5), pieces: Pieces::Random(5) },
    Arrival { shuffled: Some(6), pieces: Pieces::Random(6) },
];

/// Runs a check in all its variations.
pub fn run(server: &Server, time: TimeType, vector: &Vector, check: &Check) {
    let columns = COLUMNS.iter().find(|(id, _)| *id == check.id).map_or(&[][..], |(_, c)| *c);
    let expected = &vector.expect[check.output];
    match check.how {
        How::Steps => {
            steps(&mut World::new(server, time), &story(vector, columns), check, expected)
        }
        // System time is the server's, and never goes back.
        How::Clocked | How::ClockedLate | How::Watermarks => {
            let server = &Server::with(Options { shards: 4, batch_rows: 1, ..Options::default() });
            let (mut world, story) = (World::new(server, time), story(vector, columns));
            match check.how {
                How::Watermarks => watermarks(&mut world, &story, expected),
                How::ClockedLate => late(&mut world, &story, (expected, true)),
                _ => steps(&mut world, &story, check, expected),
            }
        }
        How::Released => released(
            &mut World::new(server, time),
            &story(vector, columns),
            check.sql,
            &notation::released(expected),
        ),
        How::Late => {
            late(&mut World::new(server, time), &story(vector, columns), (expected, false))
        }
        How::Not(_) => {}
        how => {
            let inputs = notation::inputs(&vector.inputs, columns);
            assert!(!inputs.is_empty(), "{} has inputs", vector.id);
            let sql = time.distances(check.sql);
            let run = Run { server, time, vector, inputs, sql: &sql, expected };
            run.listed(how);
        }
    }
}

/// A check of a vector whose inputs are listed.
struct Run<'a> {
    server: &'a Server,
    time: TimeType,
    vector: &'a Vector,
    inputs: Vec<Input>,
    sql: &'a str,
    expected: &'a str,
}

impl Run<'_> {
    fn listed(&self, how: How) {
        let every = |each: &dyn Fn(Arrival)| ARRIVALS.into_iter().for_each(each);
        match how {
            How::Changes => every(&|a| self.changes(a)),
            How::Stream => every(&|a| self.stream(a)),
            How::RowClock => (1..=3).for_each(|size| self.row_clock(size)),
            How::Elements => every(&|a| self.elements(a)),
            How::Result => every(&|a| self.result(a)),
            How::Closed => every(&|a| self.closed(a)),
            How::Relation => {
                let contents = notation::relations(self.expected);
                every(&|a| self.contents(a, &contents));
            }
            How::Sampled(every_n) => {
                let contents = self.samples(every_n);
                every(&|a| self.contents(a, &contents));
            }
            How::Commits => self.commits(),
            How::CommitsStream => self.commits_stream(),
            How::Steps
            | How::Clocked
            | How::ClockedLate
            | How::Watermarks
            | How::Released
            | How::Late
            | How::Not(_) => unreachable!("not listed"),
        }
    }

    /// What RSTREAM would emit at every multiple of `n`, as contents.
    fn samples(&self, n: i64) -> BTreeMap<i64, Bag> {
        let horizon = notation::horizon(&self.vector.inputs);
        let mut contents: BTreeMap<i64, Bag> =
            (0..=horizon).filter(|t| t % n == 0).map(|t| (t, Bag::new())).collect();
        for ((at, row), count) in notation::changes(self.expected) {
            let content = contents.get_mut(&at).expect("RSTREAM fires at ticks only");
            add(content, row, count);
        }
        contents
    }

    /// A schema with the vector's objects, and the rows as they will arrive.
    fn world(&self, arrival: Arrival, hold: bool) -> (World<'_>, Vec<(usize, Vec<Update>)>) {
        let mut world = World::new(self.server, self.time);
        let mut rows = Vec::new();
        for (i, input) in self.inputs.iter().enumerate() {
            assert!(!input.table, "{} is a table; its vector runs by commits", input.name);
            let mut updates = input.updates.clone();
            if let Some(seed) = arrival.shuffled {
                shuffle(&mut updates, seed);
            }
            let delay = if hold { LATEST } else { disorder(&updates) };
            world.create_stream(input, "ts", delay, "");
            rows.extend(updates.into_iter().map(|u| (i, u)));
        }
        let mut pieces: Vec<(usize, Vec<Update>)> = Vec::new();
        let mut random = Random::new(match arrival.pieces {
            Pieces::Random(seed) => seed,
            Pieces::One | Pieces::Each => 0,
        });
        for (i, update) in rows {
            let joins = match arrival.pieces {
                Pieces::One => true,
                Pieces::Each => false,
                Pieces::Random(_) => random.chance(50),
            };
            match pieces.last_mut() {
                Some((last, piece)) if joins && *last == i => piece.push(update),
                _ => pieces.push((i, vec![update])),
            }
        }
        (world, pieces)
    }

    fn insert(&self, world: &mut World<'_>, pieces: &[(usize, Vec<Update>)]) {
        for (i, rows) in pieces {
            world.insert(&self.inputs[*i], rows);
        }
    }

    fn heartbeat(&self, world: &mut World<'_>, at: i64) {
        for input in self.inputs.iter().filter(|i| !i.table) {
            world.heartbeat(&input.name, at);
        }
    }

    fn changes(&self, arrival: Arrival) {
        let horizon = notation::horizon(&self.vector.inputs);
        let (mut world, pieces) = self.world(arrival, false);
        world.create_view(self.sql);
        self.insert(&mut world, &pieces);
        self.heartbeat(&mut world, horizon + 1);
        let mut changes = Changes::new();
        for ((at, row), diff) in world.changes_until(horizon + 1) {
            // What was there before the first instant is part of it: R(-1) = {}.
            add(&mut changes, (at.max(0), row), diff);
        }
        assert_eq!(changes, notation::changes(self.expected), "changes under {arrival:?}");
    }

    fn stream(&self, arrival: Arrival) {
        let horizon = notation::horizon(&self.vector.inputs);
        let (mut world, pieces) = self.world(arrival, false);
        world.create_stream_view(self.sql);
        self.insert(&mut world, &pieces);
        self.heartbeat(&mut world, horizon + 1);
        let begins_at_0 = self.inputs.iter().flat_map(|i| &i.updates).any(|u| u.time == 0);
        let mut elements = Changes::new();
        let mut before = Bag::new();
        for ((at, row), count) in world.changes_until(horizon + 1) {
            assert!(count > 0, "an element is never taken back");
            if at < 0 && begins_at_0 {
                // What was there before the first instant of the vector.
                add(&mut before, row, count);
                continue;
            }
            add(&mut elements, (at.max(0), row), count);
        }
        let expected = notation::changes(self.expected);
        assert_eq!(elements, expected, "elements under {arrival:?}");
        let mut content = Bag::new();
        for ((_, row), count) in expected {
            add(&mut content, row, count);
        }
        before.into_iter().for_each(|(row, count)| add(&mut content, row, count));
        assert_eq!(world.select("SELECT * FROM v"), content, "content under {arrival:?}");
    }

    /// Rows in pieces of that size: how they are told apart in time does not depend on it.
    fn row_clock(&self, size: usize) {
        let [input] = &self.inputs[..] else { panic!("one stream") };
        let mut world = World::new(self.server, TimeType::BigInt);
        world.create_row_stream(input);
        world.create_stream_view(self.sql);
        for rows in input.updates.chunks(size) {
            world.insert_untimed(input, rows);
        }
        let until = i64::try_from(input.updates.len()).expect("few rows");
        let elements = world.changes_until(until);
        // Before the first row the average is NULL.
        let elements = elements.keys().filter(|(at, _)| *at >= 0);
        let times = elements.map(|(at, row)| format!("{at}:{row}"));
        let times = times.collect::<Vec<_>>().join("; ");
        assert_eq!(times, self.expected, "in pieces of {size}");
    }

    fn contents(&self, arrival: Arrival, contents: &BTreeMap<i64, Bag>) {
        let (mut world, pieces) = self.world(arrival, true);
        world.create_view(self.sql);
        self.insert(&mut world, &pieces);
        for (at, content) in contents {
            self.heartbeat(&mut world, at + 1);
            let query = world.select(self.sql);
            assert_eq!(world.select("SELECT * FROM v"), *content, "R({at}) under {arrival:?}");
            assert_eq!(query, *content, "the query alone at {at} under {arrival:?}");
        }
    }

    fn elements(&self, arrival: Arrival) {
        let (mut world, pieces) = self.world(arrival, false);
        world.create_view(self.sql);
        self.insert(&mut world, &pieces);
        let mut expected = Bag::new();
        for ((at, row), count) in notation::changes(self.expected) {
            add(&mut expected, format!("({at},{row})"), count);
        }
        let content = world.select("SELECT * FROM v");
        assert_eq!(content, expected, "content under {arrival:?}");
        let changes = world.changes_to(&content);
        assert_eq!(changes, expected, "changes under {arrival:?}");
    }

    fn result(&self, arrival: Arrival) {
        let expected = notation::bag(self.expected);
        let (mut world, pieces) = self.world(arrival, false);
        world.create_view(self.sql);
        self.insert(&mut world, &pieces);
        assert_eq!(world.select("SELECT * FROM v"), expected, "before the end, {arrival:?}");
        world.changes_to(&expected);
        self.heartbeat(&mut world, LATEST);
        assert_eq!(world.select("SELECT * FROM v"), expected, "after the end, {arrival:?}");
        assert_eq!(world.select(self.sql), expected, "the query alone, {arrival:?}");
    }

    fn closed(&self, arrival: Arrival) {
        let expected = notation::bag(self.expected);
        let (mut world, pieces) = self.world(arrival, false);
        world.create_view(self.sql);
        self.insert(&mut world, &pieces);
        self.heartbeat(&mut world, LATEST);
        assert_eq!(world.select("SELECT * FROM v"), expected, "{arrival:?}");
        world.changes_to(&expected);
        assert_eq!(world.select(self.sql), expected, "the query alone, {arrival:?}");
    }

    fn commits(&self) {
        let mut world = self.tables();
        world.create_view(self.sql);
        let mut before = Bag::new();
        let mut changes = Changes::new();
        for at in 0..=notation::horizon(&self.vector.inputs) {
            self.commit(&mut world, at);
            let content = world.select("SELECT * FROM v");
            assert_eq!(world.select(self.sql), content, "the query alone at {at}");
            let difference = difference(&before, &content);
            let seen = world.changes_to(&content);
            if at > 0 {
                assert_eq!(seen, difference, "changes of the commit at {at}");
            }
            changes.extend(difference.into_iter().map(|(row, diff)| ((at, row), diff)));
            before = content;
        }
        assert_eq!(changes, notation::changes(self.expected));
    }

    fn commits_stream(&self) {
        let mut world = self.tables();
        world.create_stream_view(self.sql);
        let mut before = Bag::new();
        let mut elements = Changes::new();
        for at in 0..=notation::horizon(&self.vector.inputs) {
            self.commit(&mut world, at);
            self.heartbeat(&mut world, at + 1);
            let content = world.select("SELECT * FROM v");
            let new = difference(&before, &content);
            assert_eq!(world.changes_to(&content), new, "elements at {at}");
            elements.extend(new.into_iter().map(|(row, count)| ((at, row), count)));
            before = content;
        }
        assert_eq!(elements, notation::changes(self.expected));
    }

    /// A schema with streams, held back until heartbeats come, and tables.
    fn tables(&self) -> World<'_> {
        let mut world = World::new(self.server, self.time);
        for input in &self.inputs {
            match input.table {
                true => world.create_table(input),
                false => world.create_stream(input, "ts", LATEST, ""),
            }
        }
        world
    }

    /// Everything of one instant, as one commit.
    fn commit(&self, world: &mut World<'_>, at: i64) {
        let now = |input: &Input| -> Vec<Update> {
            input.updates.iter().filter(|u| u.time == at).cloned().collect()
        };
        if self.inputs.iter().all(|i| now(i).is_empty()) {
            return;
        }
        world.client.run("BEGIN");
        for input in &self.inputs {
            let updates = now(input);
            match input.table {
                true => updates.iter().for_each(|u| world.update(input, u)),
                false if updates.is_empty() => {}
                false => world.insert(input, &updates),
            }
        }
        world.client.run("COMMIT");
    }
}

/// Shuffles rows; those of equal times keep their order, which is theirs by definition.
fn shuffle(updates: &mut Vec<Update>, seed: u64) {
    let mut order: Vec<usize> = (0..updates.len()).collect();
    Random::new(seed).shuffle(&mut order);
    let mut shuffled: Vec<Update> = order.iter().map(|i| updates[*i].clone()).collect();
    let times: BTreeSet<i64> = updates.iter().map(|u| u.time).collect();
    for time in times {
        let mut original = updates.iter().filter(|u| u.time == time);
        for place in shuffled.iter_mut().filter(|u| u.time == time) {
            place.clone_from(original.next().expect("as many as there are places"));
        }
    }
    *updates = shuffled;
}

/// By how much a row is at most behind one that came before it.
fn disorder(updates: &[Update]) -> i64 {
    let mut latest = i64::MIN;
    let mut disorder = 0;
    for update in updates {
        latest = latest.max(update.time);
        disorder = disorder.max(latest - update.time);
    }
    disorder
}

fn create(world: &mut World<'_>, story: &Story, options: &str) {
    for stream in &story.streams {
        let rows = story.steps.iter().filter(|s| s.stream == stream.name);
        let updates = rows.filter_map(|s| match &s.action {
            Action::Row(update) => Some(update.clone()),
            Action::Heartbeat(_) | Action::Pass => None,
        });
        let typed = Input { updates: updates.collect(), ..stream.clone() };
        let lateness = match story.lateness {
            0 => String::new(),
            ticks => format!(", ALLOWED LATENESS {}, LATE UPDATE", world.span(ticks)),
        };
        let options = format!("{}{lateness}{options}", story.options);
        world.create_stream(&typed, story.time, story.delay, &options);
    }
}

fn perform(world: &mut World<'_>, story: &Story, step: &Step) {
    match &step.action {
        Action::Heartbeat(at) => world.heartbeat(&step.stream, *at),
        Action::Pass => {}
        Action::Row(update) => {
            let named = story.streams.iter().find(|s| s.name == step.stream);
            let stream = named.expect("steps name streams of the story");
            // Types follow the values; one row suffices.
            let typed = Input { updates: vec![update.clone()], ..stream.clone() };
            world.insert(&typed, std::slice::from_ref(update));
        }
    }
}

/// Performs a step at the time of day that is its number.
fn clocked(world: &mut World<'_>, story: &Story, (place, step): (i64, &Step)) {
    world.system_time(step.label, place);
    perform(world, story, step);
    world.system_time(step.label, 0);
}

/// Each step changes the view's content as told.
fn steps(world: &mut World<'_>, story: &Story, check: &Check, expected: &str) {
    create(world, story, "");
    world.create_view(check.sql);
    let mut before = Bag::new();
    let mut changes = Changes::new();
    for (place, step) in (0..).zip(&story.steps) {
        match check.how {
            How::Clocked => clocked(world, story, (place, step)),
            _ => perform(world, story, step),
        }
        let content = world.select("SELECT * FROM v");
        let difference = difference(&before, &content);
        assert_eq!(world.changes_to(&content), difference, "changes of step {}", step.label);
        changes.extend(difference.into_iter().map(|(row, diff)| ((step.label, row), diff)));
        before = content;
    }
    assert_eq!(changes, notation::changes(expected));
}

/// Each step releases the instants that it closes, with what changes in them.
fn released(world: &mut World<'_>, story: &Story, sql: &str, expected: &Changes) {
    create(world, story, "");
    world.create_view(sql);
    let mut watermarks: BTreeMap<&str, i64> =
        story.streams.iter().map(|s| (s.name.as_str(), 0)).collect();
    let mut closed = 0;
    let mut changes = Changes::new();
    for step in &story.steps {
        perform(world, story, step);
        let watermark = watermarks.get_mut(step.stream.as_str()).expect("a stream of the story");
        *watermark = (*watermark).max(match &step.action {
            Action::Row(update) => update.time - story.delay,
            Action::Heartbeat(at) => *at,
            Action::Pass => i64::MIN,
        });
        let least = watermarks.values().copied().min().expect("there is a stream");
        if least > closed {
            closed = least;
            for ((at, row), diff) in world.changes_until(closed) {
                add(&mut changes, (step.label, format!("{at}:{row}")), diff);
            }
        }
    }
    assert_eq!(changes, *expected);
}

/// The watermark after each step of the story, which begins with step 1.
fn watermarks(world: &mut World<'_>, story: &Story, expected: &str) {
    create(world, story, "");
    let mut watermarks = Vec::new();
    for (place, step) in (0..).zip(&story.steps) {
        clocked(world, story, (place, step));
        let watermark = world.client.run("SELECT watermark FROM hw.streams WHERE name = 's'");
        let watermark = watermark.value().expect("the stream has a watermark");
        watermarks.push(match crate::world::tick(&watermark) {
            Some(0) => "-inf".to_owned(),
            Some(tick) => tick.to_string(),
            None => watermark,
        });
    }
    assert_eq!(format!("W={}", watermarks[1..].join(",")), expected);
}

/// The rows that were refused, with the watermark that refused them if it is told.
fn late(world: &mut World<'_>, story: &Story, (expected, by_clock): (&str, bool)) {
    create(world, story, ", LATE INTO refused");
    let mut late = Vec::new();
    let mut seen = 0;
    for (place, step) in (0..).zip(&story.steps) {
        match by_clock {
            true => clocked(world, story, (place, step)),
            false => perform(world, story, step),
        }
        let sql = "SELECT ts, x, late_watermark FROM refused ORDER BY arrived_at, ts";
        let rows = world.client.run(sql).rows;
        for row in &rows[seen..] {
            let row = crate::world::notation(row);
            let values: Vec<&str> = row.trim_matches(['(', ')']).split(',').collect();
            let [ts, x, watermark] = values[..] else { panic!("three columns") };
            let told = expected.contains(" W=");
            let watermark = if told { format!(" W={watermark}") } else { String::new() };
            late.push(format!("p{} ts={ts} {x}{watermark}", step.label));
        }
        seen = rows.len();
    }
    let late = if late.is_empty() { "[]".to_owned() } else { late.join("; ") };
    assert_eq!(late, expected);
}
