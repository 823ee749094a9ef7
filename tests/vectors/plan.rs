//! Which output of which vector is checked how, and which are not yet, and why.
//!
//! What ISTREAM, DSTREAM and RSTREAM emit is checked as a stream of elements, and most of it once
//! more as a part of what the relation inside them does: its insertions, its deletions, or its
//! content at the instants where RSTREAM fires.

/// How an output is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The changes of an EVENT-clock view over streams, instant by instant.
    Changes,
    /// The content at given instants.
    Relation,
    /// The content at every multiple of n instants; no rows where the output names none.
    Sampled(i64),
    /// The changes, each instant being one commit.
    Commits,
    /// The elements of a stream, with their times, followed and read; statements before the last
    /// one are run first.
    Stream,
    /// The elements that each instant brings, each instant being one commit and then one heartbeat.
    CommitsStream,
    /// The elements of a stream over a stream on CLOCK ROW, whose times are numbers of rows.
    RowClock,
    /// The rows, with their times as first column.
    Elements,
    /// The final content.
    Result,
    /// The content once all instants are closed.
    Closed,
    /// The content's changes, step by step, in the order of arrival.
    Steps,
    /// The content's changes, step by step, each at the time of day that is its number.
    Clocked,
    /// The changes that each step releases, with their instants.
    Released,
    /// The rows that were refused.
    Late,
    /// The same, each step at the time of day that is its number.
    ClockedLate,
    /// The watermark after each step, at the time of day that is its number.
    Watermarks,
    /// Not checked: the reason.
    Not(&'static str),
}

/// A check of one output.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The vector.
    pub id: &'static str,
    /// The output's name.
    pub output: &'static str,
    /// How it is checked.
    pub how: How,
    /// The query; one tick of the vectors is a microsecond, `{n}` a distance of n.
    pub sql: &'static str,
}

const fn check(id: &'static str, output: &'static str, how: How, sql: &'static str) -> Check {
    Check { id, output, how, sql }
}

const fn not(id: &'static str, output: &'static str, reason: &'static str) -> Check {
    Check { id, output, how: How::Not(reason), sql: "" }
}

/// Names of the columns of some streams and tables.
pub type Names = &'static [(&'static str, &'static [&'static str])];

/// By vector: names of columns that it leaves unnamed.
pub const COLUMNS: [(&str, Names); 9] = [
    ("C3", &[("Prices", &["item", "price"])]),
    ("C4", &[("Prices", &["item", "price"])]),
    ("C5", &[("Orders", &["id", "item"]), ("Prices", &["item", "price"])]),
    ("C6", &[("A", &["k", "a"]), ("B", &["k", "b"])]),
    ("C7", &[("A", &["k", "a"]), ("B", &["k", "b"])]),
    ("C8", &[("Open", &["item"]), ("Closed", &["item"])]),
    ("D4", &[("bid", &["auction", "price", "at"])]),
    ("D10", &[("auction", &["id", "cat"]), ("bid", &["auction", "price"])]),
    ("F14", &[("A", &["k"]), ("B", &["k"])]),
];

/// Every output of every vector.
pub fn checks() -> Vec<Check> {
    [windows(), streams(), joins(), relations(), over(), functions(), arrivals()].concat()
}

fn windows() -> Vec<Check> {
    use How::{Changes, Relation, Stream};
    const NOW: &str = "SELECT x FROM S [NOW]";
    const RANGE: &str = "SELECT x FROM S [RANGE 3 MICROSECONDS]";
    const INCLUSIVE: &str = "SELECT x FROM S [RANGE 3 MICROSECONDS INCLUSIVE]";
    const ROWS: &str = "SELECT x FROM S [ROWS 2]";
    const RECENT: &str = "SELECT k, v FROM S [PARTITION BY k ROWS 2 RANGE 4 MICROSECONDS]";
    const SLIDE: &str = "SELECT x FROM S [RANGE 4 MICROSECONDS SLIDE 2 MICROSECONDS]";
    const SAMPLE: &str = "SELECT x FROM S [RANGE 2 MICROSECONDS SLIDE 5 MICROSECONDS]";
    const EMPTY_STREAM: &str =
        "ISTREAM (SELECT COUNT(*), SUM(v) AS total FROM S [RANGE 2 MICROSECONDS])";
    const EMPTY: &str = "SELECT COUNT(*), SUM(v) FROM S [RANGE 2 MICROSECONDS]";
    vec![
        check("A1", "changes", Changes, NOW),
        check("A1", "istream", Stream, "SELECT ISTREAM x FROM S [NOW]"),
        check("A1", "dstream", Stream, "DSTREAM (SELECT x FROM S [NOW])"),
        check("A1", "rstream", Stream, "SELECT RSTREAM (x) FROM S [NOW]"),
        check("A2", "changes", Changes, RANGE),
        check("A2", "relation", Relation, RANGE),
        check("A3", "changes", Changes, INCLUSIVE),
        check("A4", "changes", How::Elements, "SELECT ts, x FROM S"),
        check("A4", "istream", Stream, "SELECT ISTREAM x FROM S [RANGE UNBOUNDED]"),
        check("A4", "dstream", Stream, "SELECT DSTREAM x FROM S"),
        check("A5", "changes", Changes, ROWS),
        check("A6", "changes", Changes, ROWS),
        check("A6", "istream", Stream, "SELECT ISTREAM x FROM S [ROWS 2]"),
        check("A6", "relation", Relation, ROWS),
        check("A7", "changes", Changes, "SELECT k, v FROM S [PARTITION BY k ROWS 1]"),
        check("A8", "changes", Changes, RECENT),
        check("A9", "changes", Changes, SLIDE),
        check("A9", "relation", Relation, SLIDE),
        check("A10", "changes", Changes, SAMPLE),
        check("A11", "changes", Changes, "SELECT x FROM S [ROWS 3 SLIDE 2]"),
        check("A12", "changes", Changes, "SELECT x FROM S [CURRENT 5 MICROSECONDS]"),
        check("A13", "istream", Stream, EMPTY_STREAM),
        check("A13", "relation", Relation, EMPTY),
        check(
            "A14",
            "changes",
            Changes,
            "SELECT k, COUNT(*) FROM S [RANGE 2 MICROSECONDS] GROUP BY k",
        ),
    ]
}

fn streams() -> Vec<Check> {
    use How::{CommitsStream, Sampled, Stream};
    const ENTRY: &str = "SELECT ISTREAM car, seg FROM S [RANGE 30 MICROSECONDS]";
    const ENTRY_INCLUSIVE: &str =
        "SELECT ISTREAM car, seg FROM S [RANGE 30 MICROSECONDS INCLUSIVE]";
    const TWO: &str = "SELECT x FROM S [RANGE 2 MICROSECONDS]";
    const TICKS: &str = "SELECT RSTREAM k, COUNT(*) \
                         FROM S [RANGE 5 MICROSECONDS SLIDE 5 MICROSECONDS] GROUP BY k";
    const COUNTS: &str = "SELECT ISTREAM COUNT(*) AS c FROM S [RANGE 2 MICROSECONDS]";
    const HIGHEST: &str = "CREATE STREAM D AS SELECT ISTREAM COUNT(*) AS c \
                           FROM S [RANGE 2 MICROSECONDS]; \
                           SELECT ISTREAM MAX(c) FROM D [ROWS 2]";
    vec![
        check("B1", "istream", CommitsStream, "SELECT ISTREAM x FROM T"),
        check("B1", "dstream", CommitsStream, "DSTREAM (SELECT x FROM T)"),
        check("B2", "istream", Stream, ENTRY),
        check("B2", "inclusive", Stream, ENTRY_INCLUSIVE),
        check("B3", "istream", Stream, "SELECT ISTREAM x FROM S [RANGE 5 MICROSECONDS]"),
        check("B3", "dstream", Stream, "SELECT DSTREAM x FROM S [RANGE 5 MICROSECONDS]"),
        check(
            "B3",
            "istream_distinct",
            Stream,
            "SELECT ISTREAM DISTINCT x FROM S [RANGE 5 MICROSECONDS]",
        ),
        check(
            "B3",
            "dstream_distinct",
            Stream,
            "SELECT DISTINCT DSTREAM x FROM S [RANGE 5 MICROSECONDS]",
        ),
        check("B4", "rstream", Stream, "SELECT RSTREAM * FROM (SELECT x FROM S [NOW]) q"),
        check("B4", "istream", Stream, "SELECT ISTREAM x FROM S [NOW]"),
        check("B4", "dstream", Stream, "SELECT DSTREAM x FROM S [NOW]"),
        check("B5", "istream", Stream, "ISTREAM (SELECT v FROM S WHERE v > 10)"),
        check("B5", "dstream", Stream, "DSTREAM (SELECT v FROM S WHERE v > 10)"),
        check("B6", "istream", Stream, "SELECT ISTREAM MAX(v) FROM S"),
        check("B6", "dstream", Stream, "SELECT DSTREAM MAX(v) FROM S"),
        check("B7", "strict", Sampled(1), TWO),
        check(
            "B7",
            "every2",
            Stream,
            "SELECT RSTREAM x FROM S [RANGE 2 MICROSECONDS] EVERY 2 MICROSECONDS",
        ),
        check("B8", "dstream", Stream, "SELECT DSTREAM x FROM S [RANGE 3 MICROSECONDS]"),
        check("B9", "rstream", Stream, TICKS),
        check("B10", "D", Stream, COUNTS),
        check("B10", "istream", Stream, HIGHEST),
        check("B11", "time_driven", Stream, "SELECT ISTREAM AVG(cost) FROM P [ROWS 10]"),
        check("B11", "clock_row", How::RowClock, "SELECT ISTREAM AVG(cost) FROM P [ROWS 10]"),
    ]
}

fn joins() -> Vec<Check> {
    use How::{Changes, Commits, CommitsStream, Stream};
    const OVERLAP: &str = "SELECT A.k, a, b FROM A [RANGE 3 MICROSECONDS], \
                           B [RANGE 2 MICROSECONDS] WHERE A.k = B.k";
    const CHANGED: &str = "SELECT RSTREAM i.car, p.seg FROM S [NOW] AS i, S [RANGE 30 MICROSECONDS] AS p \
                           WHERE i.car = p.car AND i.seg <> p.seg";
    const PRICED: &str = "SELECT RSTREAM o.id, p.price FROM Orders [NOW] AS o, Prices AS p \
                          WHERE o.item = p.item";
    const PRICED_ONCE: &str = "SELECT ISTREAM o.id, p.price FROM Orders [NOW] AS o, Prices AS p \
                               WHERE o.item = p.item";
    const HISTORY: &str = "SELECT ISTREAM o.id, p.price FROM Orders AS o, Prices AS p \
                           WHERE o.item = p.item";
    const REVISED: &str = "SELECT DSTREAM o.id, p.price FROM Orders AS o, Prices AS p \
                           WHERE o.item = p.item";
    const PADDED: &str = "SELECT A.k, a, b FROM A LEFT JOIN B [RANGE 2 MICROSECONDS] ON A.k = B.k";
    const FULL: &str = "SELECT COALESCE(A.k, B.k), a, b FROM A FULL JOIN B ON A.k = B.k";
    const OPEN: &str = "SELECT item FROM Open WHERE NOT EXISTS \
                        (SELECT 1 FROM Closed c WHERE c.item = Open.item)";
    const LONG: &str = "SELECT RSTREAM len FROM P [NOW] WHERE len > \
                        (SELECT 2 * AVG(len) FROM P [RANGE 3 MICROSECONDS])";
    vec![
        check("C1", "changes", Changes, OVERLAP),
        check("C2", "rstream", Stream, CHANGED),
        check("C3", "rstream", CommitsStream, PRICED),
        check("C4", "istream", CommitsStream, HISTORY),
        check("C4", "dstream", CommitsStream, REVISED),
        check("C5", "rstream", CommitsStream, PRICED),
        check("C5", "istream", CommitsStream, PRICED_ONCE),
        check("C6", "changes", Changes, PADDED),
        check("C7", "changes", Commits, FULL),
        check("C8", "changes", Commits, OPEN),
        check("C9", "rstream", Stream, LONG),
    ]
}

fn relations() -> Vec<Check> {
    use How::{Changes, Commits, Stream};
    const HAVING: &str = "SELECT k, COUNT(*) FROM S [RANGE 3 MICROSECONDS] GROUP BY k \
                          HAVING COUNT(*) >= 2";
    const UNION: &str = "ISTREAM (SELECT x FROM S1 UNION ALL SELECT x FROM S2)";
    const STOPPED: &str = "SELECT car, AVG(pos) FROM P [PARTITION BY car ROWS 4] GROUP BY car \
                           HAVING COUNT(DISTINCT pos) = 1";
    const STOPPED_4: &str = "SELECT car, AVG(pos) FROM P [PARTITION BY car ROWS 4] GROUP BY car \
                             HAVING COUNT(DISTINCT pos) = 1 AND COUNT(*) = 4";
    const FIRST: &str = "SELECT auction, price, at FROM (SELECT *, ROW_NUMBER() OVER \
                         (PARTITION BY auction ORDER BY price DESC, at) rn FROM bid) q \
                         WHERE rn = 1";
    const FINAL: &str = "SELECT cat, AVG(final) FROM (SELECT MAX(b.price) AS final, a.cat \
                         FROM auction a, bid b WHERE a.id = b.auction GROUP BY a.id, a.cat) q \
                         GROUP BY cat";
    vec![
        check("D1", "changes", Commits, "SELECT MAX(v) FROM T"),
        check("D2", "changes", Commits, "SELECT DISTINCT x FROM T"),
        check("D3", "changes", Commits, "SELECT v FROM T ORDER BY v DESC LIMIT 2"),
        check("D4", "changes", Commits, FIRST),
        check("D5", "all", Commits, "SELECT x FROM L EXCEPT ALL SELECT x FROM R"),
        check("D5", "set", Commits, "SELECT x FROM L EXCEPT SELECT x FROM R"),
        check("D6", "changes", Changes, HAVING),
        check(
            "D7",
            "istream",
            Stream,
            "SELECT ISTREAM COUNT(DISTINCT v) FROM S [RANGE 3 MICROSECONDS]",
        ),
        check("D8", "istream", Stream, UNION),
        check("D9", "with_count", Changes, STOPPED_4),
        check("D9", "sqr_text", Changes, STOPPED),
        check("D10", "changes", Commits, FINAL),
    ]
}

fn over() -> Vec<Check> {
    const PEERS: &str = "SELECT ts, v, SUM(v) OVER (ORDER BY ts RANGE {2} PRECEDING) FROM S";
    const ROWS: &str = "SELECT ts, v, SUM(v) OVER (ORDER BY ts ROWS 1 PRECEDING) FROM S";
    const SUMS: &str = "SELECT RSTREAM s.v, a.total FROM S [NOW] s CROSS JOIN \
                        (SELECT SUM(v) AS total FROM S [RANGE 2 MICROSECONDS INCLUSIVE]) a";
    const LAST_TWO: &str = "SELECT RSTREAM s.v, a.total FROM S [NOW] s CROSS JOIN \
                            (SELECT SUM(v) AS total FROM S [ROWS 2]) a";
    const INTERVAL: &str = "SELECT RSTREAM o.id, s.id AS s FROM O [RANGE 5 MICROSECONDS INCLUSIVE] o, S [NOW] s \
                            WHERE o.k = s.k";
    const BY_DISTANCE: &str = "SELECT o.id, s.id AS s FROM O o JOIN S s ON o.k = s.k \
                               AND s.ts BETWEEN o.ts AND o.ts + {5}";
    const YOUNG: &str = "SELECT x FROM S \
                         WHERE now() < to_timestamp_micros(ts) + INTERVAL '3 microseconds'";
    vec![
        check("E1", "over", How::Result, PEERS),
        check("E1", "cql", How::Stream, SUMS),
        check("E2", "over", How::Result, ROWS),
        check("E2", "now_x_rows2", How::Stream, LAST_TWO),
        check("E3", "changes", How::Changes, YOUNG),
        check("E4", "cql", How::Stream, INTERVAL),
        check("E4", "interval", How::Closed, BY_DISTANCE),
    ]
}

/// What TUMBLE and HOP make of a set of rows.
fn functions() -> Vec<Check> {
    use How::Result;
    const TUMBLE: &str = "SELECT window_start, window_end, k, COUNT(*) \
                          FROM TUMBLE(S, ts, INTERVAL '5 microseconds') GROUP BY 1, 2, 3";
    const OVERLAP: &str = "SELECT window_start, window_end, COUNT(*) FROM HOP(S, ts, \
                           slide => INTERVAL '2 microseconds', size => INTERVAL '4 microseconds') \
                           GROUP BY 1, 2";
    const GAPS: &str = "SELECT window_start, window_end, COUNT(*) FROM HOP(S, ts, \
                        slide => INTERVAL '5 microseconds', size => INTERVAL '2 microseconds') \
                        GROUP BY 1, 2";
    const GROWING: &str = "SELECT window_start, window_end, COUNT(*) FROM CUMULATE(S, ts, \
                           step => INTERVAL '2 microseconds', size => INTERVAL '6 microseconds') \
                           GROUP BY 1, 2";
    const OFFSET: &str = "SELECT window_start, window_end, COUNT(*) FROM TUMBLE(S, ts, \
                          INTERVAL '5 microseconds', offset => INTERVAL '3 microseconds') \
                          GROUP BY 1, 2";
    const HOT: &str = "WITH c AS (SELECT window_start, window_end, auction, COUNT(*) AS num \
                       FROM HOP(bid, ts, slide => INTERVAL '5 microseconds', \
                       size => INTERVAL '10 microseconds') GROUP BY 1, 2, 3), \
                       m AS (SELECT window_start, window_end, MAX(num) AS top FROM c \
                       GROUP BY 1, 2) \
                       SELECT c.window_start, c.window_end, c.auction, c.num FROM c JOIN m \
                       ON c.window_start = m.window_start AND c.window_end = m.window_end \
                       AND c.num >= m.top";
    const SAME: &str = "SELECT p.window_start, p.window_end, p.id \
                        FROM TUMBLE(person, ts, INTERVAL '5 microseconds') p \
                        JOIN TUMBLE(auction, ts, INTERVAL '5 microseconds') a \
                        ON p.id = a.seller AND p.window_start = a.window_start";
    vec![
        check("F1", "result", Result, TUMBLE),
        check("F2", "result", Result, OVERLAP),
        check("F3", "result", Result, GAPS),
        check("F4", "result", Result, GROWING),
        check("F5", "result", Result, OFFSET),
        check("F18", "result", Result, HOT),
        check("F19", "result", Result, SAME),
    ]
}

/// Order of arrival, watermarks and late rows.
fn arrivals() -> Vec<Check> {
    use How::{Late, Released, Steps};
    const CHANGES: &str = "SELECT window_start, window_end, COUNT(*) \
                           FROM TUMBLE(S, ts, INTERVAL '5 microseconds') GROUP BY 1, 2 \
                           EMIT CHANGES";
    const CLOSE: &str = "SELECT window_start, window_end, COUNT(*) \
                         FROM TUMBLE(S, ts, INTERVAL '5 microseconds') GROUP BY 1, 2 \
                         EMIT ON WINDOW CLOSE";
    const CLOSE_OF_STORY: &str = "SELECT window_start, window_end, COUNT(*) \
                                  FROM TUMBLE(S, ts, INTERVAL '5 microseconds') \
                                  WHERE x <> 'first' GROUP BY 1, 2 EMIT ON WINDOW CLOSE";
    const SESSION: &str = "SELECT window_start, window_end, COUNT(*) \
                           FROM SESSION(S, ts, INTERVAL '5 microseconds') GROUP BY 1, 2";
    const SESSION_CHANGES: &str = "SELECT window_start, window_end, COUNT(*) \
                                   FROM SESSION(S, ts, INTERVAL '5 microseconds') GROUP BY 1, 2 \
                                   EMIT CHANGES";
    const BOTH: &str = "SELECT A.k, B.k AS b FROM A [RANGE 5 MICROSECONDS], B [RANGE 5 MICROSECONDS] \
                        WHERE A.k = B.k";
    const HIGHEST: &str = "SELECT b.window_start, b.window_end, b.bidtime, b.price, b.item \
                           FROM TUMBLE(S, bidtime, INTERVAL '10 microseconds') b \
                           JOIN (SELECT window_start, window_end, MAX(price) AS top \
                           FROM TUMBLE(S, bidtime, INTERVAL '10 microseconds') GROUP BY 1, 2) m \
                           ON b.window_start = m.window_start AND b.window_end = m.window_end \
                           AND b.price = m.top";
    const FINAL: &str = "SELECT b.window_start, b.window_end, b.bidtime, b.price, b.item \
                         FROM TUMBLE(S, bidtime, INTERVAL '10 microseconds') b \
                         JOIN (SELECT window_start, window_end, MAX(price) AS top \
                         FROM TUMBLE(S, bidtime, INTERVAL '10 microseconds') GROUP BY 1, 2) m \
                         ON b.window_start = m.window_start AND b.window_end = m.window_end \
                         AND b.price = m.top EMIT ON WINDOW CLOSE";
    const DELAYED: &str = "SELECT b.window_start, b.window_end, b.bidtime, b.price, b.item \
                           FROM TUMBLE(S, bidtime, INTERVAL '10 microseconds') b \
                           JOIN (SELECT window_start, window_end, MAX(price) AS top \
                           FROM TUMBLE(S, bidtime, INTERVAL '10 microseconds') GROUP BY 1, 2) m \
                           ON b.window_start = m.window_start AND b.window_end = m.window_end \
                           AND b.price = m.top EMIT AFTER DELAY INTERVAL '6 minutes'";
    vec![
        check("F6", "out", Steps, CHANGES),
        check("F7", "out", Released, "SELECT x FROM S [RANGE 100 MICROSECONDS]"),
        check("F7", "late", Late, ""),
        check("F8", "out", Steps, CLOSE),
        check("F8", "late", Late, ""),
        check("F9", "out", Steps, CLOSE),
        check("F9", "late", Late, ""),
        check("F10", "stream_level", Steps, CLOSE),
        not("F10", "window_level", "what other systems do: a row is late for the stream or not"),
        check("F11", "out", Steps, SESSION_CHANGES),
        check("F12", "result", How::Result, SESSION),
        check("F13", "W", How::Watermarks, ""),
        check("F13", "out", How::Clocked, CLOSE_OF_STORY),
        check("F13", "late", How::ClockedLate, ""),
        check("F14", "out", Released, BOTH),
        check("F15", "changes", Steps, HIGHEST),
        check("F15", "close", Steps, FINAL),
        check("F15", "delay6", How::Clocked, DELAYED),
        check("F16", "out", Steps, CLOSE),
        check("F17", "out", Released, "SELECT x FROM S [ROWS 1]"),
    ]
}
