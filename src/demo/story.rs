//! The steps of the demo, from an empty server to the final results.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::SimpleQueryMessage;
use tracing::warn;

use super::client::{Connection, Error};
use super::data::Files;
use super::live::{COLUMNS, Live};
use super::screen::{Screen, grouped, table};
use crate::cli::DemoFlags;
use crate::config::Config;
use crate::server::{Server, signals};

/// How often a terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(250);

/// How often a line is written where there is no terminal.
const PLAIN: Duration = Duration::from_secs(5);

/// Hours of the live view that are shown.
const HOURS: usize = 8;

/// What the demo asks at the end.
const FINAL: [(&str, &str); 3] = [
    (
        "The five worst hours, of those that are closed for good:",
        "SELECT hour, origin, flights, avg_delay\n  FROM hourly_final WHERE flights >= 5\n  \
         ORDER BY avg_delay DESC, hour, origin LIMIT 5;",
    ),
    (
        "Late rows are data: those that came after the watermark had passed them.",
        "SELECT origin, reason, count(*) AS late, max(dep_delay) AS longest_delay\n  \
         FROM departures_late GROUP BY origin, reason ORDER BY origin, reason;",
    ),
    (
        "Which watermark delay would have kept how many of all departures on time, in minutes:",
        "SELECT percentile_cont(0.50) WITHIN GROUP (ORDER BY dep_delay) AS half,\n       \
         percentile_cont(0.90) WITHIN GROUP (ORDER BY dep_delay) AS p90,\n       \
         percentile_cont(0.99) WITHIN GROUP (ORDER BY dep_delay) AS p99\n  \
         FROM (SELECT dep_delay FROM departures\n        UNION ALL\n        \
         SELECT dep_delay FROM departures_late) AS every_departure;",
    ),
];

/// Settings of the demo where nothing is said: a data directory of its own.
pub fn defaults() -> Config {
    let name = format!("highwater-demo-{}", std::process::id());
    Config { data_dir: std::env::temp_dir().join(name), ..Config::default() }
}

/// Runs the demo until its end or a signal.
pub async fn run(config: &Config, flags: &DemoFlags) -> Result<(), Error> {
    let signal = signals()?;
    let result = play(config, flags, signal).await;
    if config.data_dir == defaults().data_dir
        && let Err(error) = std::fs::remove_dir_all(&config.data_dir)
    {
        warn!(data_dir = %config.data_dir.display(), %error, "the demo's directory stays");
    }
    match result {
        // The reader of the output has gone: `highwater demo | head`.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

async fn play(
    config: &Config,
    flags: &DemoFlags,
    signal: impl Future<Output = ()>,
) -> Result<(), Error> {
    let server = Server::start(config).await?;
    let address = reachable(server.postgres_address());
    let mut told = Ok(());
    let played = async {
        let mut signal = std::pin::pin!(signal);
        tokio::select! {
            () = &mut signal => return,
            result = tell(address, config, flags) => told = result,
        }
        if flags.stay && told.is_ok() {
            signal.await;
        }
    };
    server.run_until(played).await?;
    told
}

/// An address of this machine at which the server listens.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}

/// Everything between the first and the last line of output.
async fn tell(address: SocketAddr, config: &Config, flags: &DemoFlags) -> Result<(), Error> {
    let mut screen = Screen::new();
    let files = Files::provide(&config.data_dir)?;
    let client = Connection::open(address).await?;
    let psql = format!("psql -h {} -p {}", address.ip(), address.port());
    screen.print(&format!(
        "A server runs; look at it from another terminal meanwhile:\n\n  {psql}\n  {psql} -c \
         'SUBSCRIBE hourly'\n"
    ))?;
    for statement in definitions(&files, flags) {
        screen.print(&format!("{statement}\n"))?;
        client.query(&statement).await?;
    }
    watch(&mut screen, &client, address).await?;
    // No departure follows: the watermark may pass everything, which closes the last windows.
    let heartbeat = "ALTER STREAM departures HEARTBEAT TIMESTAMP 'infinity';";
    screen.print(&format!("\nThe file has been read. {heartbeat}"))?;
    client.query(heartbeat).await?;
    for (title, query) in FINAL {
        let (columns, rows) = client.query(query).await?;
        screen.print(&format!("\n{title}\n\n{query}\n\n{}", table(&columns, &rows)))?;
    }
    if flags.stay {
        screen.print(&format!("\nThe server stays until Ctrl-C: {psql}"))?;
    }
    Ok(())
}

/// The flights example, as far and as fast as the flags say.
fn definitions(files: &Files, flags: &DemoFlags) -> Vec<String> {
    let pace = match flags.speed_up {
        0 => String::new(),
        times => format!(",\n        rate = '{times}x', pace_by = 'departed'"),
    };
    let limit = flags.limit.map_or_else(String::new, |rows| format!(", limit = {rows}"));
    let (departures, airports) = (literal(&files.departures), literal(&files.airports));
    let table = format!(
        "CREATE TABLE airports (code TEXT PRIMARY KEY, name TEXT, lat DOUBLE PRECISION,
    lon DOUBLE PRECISION, alt INT, tz INT, dst TEXT, tzone TEXT)
  WITH (connector = 'file', path = {airports}, format = 'csv');"
    );
    let stream = format!(
        "CREATE STREAM departures (flight TEXT, carrier TEXT, tailnum TEXT, origin TEXT, dest TEXT,
    scheduled TIMESTAMP, departed TIMESTAMP, dep_delay INT, arr_delay INT, distance INT,
    air_time INT,
    WATERMARK FOR scheduled AS scheduled - INTERVAL '30 minutes',
    LATE INTO departures_late)
  WITH (connector = 'file', path = {departures}{pace}{limit});"
    );
    let hourly = |name: &str, emit: &str| {
        format!(
            "CREATE VIEW {name} AS
  SELECT window_start AS hour, origin, count(*) AS flights, round(avg(dep_delay), 1) AS avg_delay
  FROM TUMBLE(departures, scheduled, INTERVAL '1 hour')
  GROUP BY window_start, window_end, origin
  EMIT {emit};"
        )
    };
    vec![table, stream, hourly("hourly", "CHANGES"), hourly("hourly_final", "ON WINDOW CLOSE")]
}

/// A path as an SQL string.
fn literal(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

/// Follows the live view until the file has been read.
async fn watch(screen: &mut Screen, client: &Connection, to: SocketAddr) -> Result<(), Error> {
    // A connection of its own, since a subscription does not end.
    let subscriber = Connection::open(to).await?;
    let mut changes = subscriber.subscribe("SUBSCRIBE hourly").await?;
    let mut live = Live::default();
    let mut progress = Progress::start();
    let mut ticks = tokio::time::interval(if screen.terminal { REDRAW } else { PLAIN });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            message = changes.next() => take(&mut live, message)?,
            _ = ticks.tick() => {
                let line = progress.line(client).await?;
                show(screen, &live, &line)?;
            }
            _ = ended.tick() => {
                if finished(client).await? {
                    break;
                }
            }
        }
    }
    // What the last rows changed is on its way.
    while let Ok(message) = tokio::time::timeout(REDRAW, changes.next()).await {
        take(&mut live, message)?;
    }
    let line = progress.line(client).await?;
    show(screen, &live, &line)?;
    screen.keep();
    Ok(())
}

fn show(screen: &mut Screen, live: &Live, progress: &str) -> io::Result<()> {
    let mut lines = Live::head();
    if screen.terminal {
        lines.extend(live.lines(HOURS));
        lines.extend([String::new(), progress.to_owned()]);
        return screen.draw(&lines);
    }
    let newest = live.lines(1);
    if newest.is_empty() {
        return screen.print(progress);
    }
    lines.extend(newest);
    screen.print(&format!("{progress}\n{}\n", lines.join("\n")))
}

/// Adds a message of the subscription to the view.
fn take(
    live: &mut Live,
    message: Option<Result<SimpleQueryMessage, tokio_postgres::Error>>,
) -> Result<(), Error> {
    let message = message.ok_or(Error::Answer("end, since a subscription has none"))??;
    if let SimpleQueryMessage::Row(row) = message {
        let value = |name: &'static str| {
            row.try_get(name).map(|value| value.unwrap_or_default().to_owned())
        };
        let diff = value("hw_diff")?.parse().map_err(|_| Error::Answer("hw_diff"))?;
        let [hour, origin, flights, delay] = COLUMNS;
        live.change([value(hour)?, value(origin)?, value(flights)?, value(delay)?], diff);
    }
    Ok(())
}

/// Returns whether the file has been read to its end.
async fn finished(client: &Connection) -> Result<bool, Error> {
    let query = "SELECT state, message FROM hw.sources WHERE name = 'departures';";
    let (_, rows) = client.query(query).await?;
    match rows.first().map(Vec::as_slice) {
        Some([state, _]) if state == "running" => Ok(false),
        Some([state, _]) if state == "finished" => Ok(true),
        Some([_, message]) => Err(Error::Source(message.clone())),
        _ => Err(Error::Answer("source \"departures\"")),
    }
}

/// How far the stream is, and how fast.
struct Progress {
    rows: u64,
    at: Instant,
}

impl Progress {
    fn start() -> Self {
        Self { rows: 0, at: Instant::now() }
    }

    /// Describes the stream as of now. The rate is that since the last call.
    async fn line(&mut self, client: &Connection) -> Result<String, Error> {
        let query = "SELECT rows, late, null_time, too_far_ahead, watermark FROM hw.streams \
                     WHERE name = 'departures';";
        let (_, rows) = client.query(query).await?;
        let Some([rows, late, null_time, ahead, watermark]) = rows.first().map(Vec::as_slice)
        else {
            return Err(Error::Answer("stream \"departures\""));
        };
        let count = |text: &str| text.parse::<u64>().map_err(|_| Error::Answer("count of rows"));
        let (late, null_time, ahead) = (count(late)?, count(null_time)?, count(ahead)?);
        let total = count(rows)? + late + null_time + ahead;
        let seconds = self.at.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = (total - self.rows.min(total)) as f64 / seconds.max(0.001);
        (self.rows, self.at) = (total, Instant::now());
        let refused = [(late, "late"), (null_time, "no event time"), (ahead, "too far ahead")]
            .iter()
            .filter(|(count, what)| *count > 0 || *what == "late")
            .map(|(count, what)| format!("{} {what}", grouped(*count)))
            .collect::<Vec<_>>();
        let (total, refused) = (grouped(total), refused.join(", "));
        Ok(format!("{total} rows ({refused})  {rate:.0} rows/s  watermark {watermark}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn paths_are_quoted_and_full_speed_has_no_rate() {
        let files = Files { departures: PathBuf::from("it's"), airports: PathBuf::from("a") };
        let sql = |arguments: &[&str]| {
            let all = ["highwater", "demo"].iter().chain(arguments);
            let Some(Command::Demo(flags)) = Cli::parse_from(all).command else { panic!() };
            definitions(&files, &flags).concat()
        };
        assert!(
            sql(&[]).contains("path = 'it''s',\n        rate = '3600x', pace_by = 'departed');")
        );
        assert!(sql(&["--speed-up", "0", "--limit", "9"]).contains("path = 'it''s', limit = 9);"));
    }

    #[test]
    fn a_server_on_every_address_is_reached_on_this_machine() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:5"), "127.0.0.1:5");
        assert_eq!(at("192.0.2.7:5"), "192.0.2.7:5");
    }
}
