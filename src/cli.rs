//! The command line: `highwater [serve]`, and the other commands.
//!
//! # Why
//! Flags say only what was given; [`crate::config`] puts them on top of the other layers. So the
//! environment is not read here, and help names the variables in words.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::{Address, Size, check_batch_rows, check_history_rows, check_shards};

/// A streaming database that speaks Postgres.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a command, `serve` runs. HIGHWATER_LOG (or RUST_LOG) sets the log \
    level: error, warn, info (default), debug, trace, or module=level."
)]
pub struct Cli {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `serve`, when it is not said.
    #[command(flatten)]
    pub serve: ServerFlags,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until SIGINT or SIGTERM.
    Serve(ServerFlags),
    /// Run a server that replays a week of real flights, and watch a live view of it.
    #[command(
        after_help = "Without --data-dir the demo uses a directory of its own and removes it."
    )]
    Demo(DemoFlags),
    /// Write a backup of a running server into a directory on its machine, which has to be empty.
    Backup(BackupFlags),
    /// Make a data directory from a backup; it has to be empty, and no server runs on it.
    Restore(RestoreFlags),
    /// Check that a server could start on a data directory with all that it has; change nothing.
    Check(DirFlags),
    /// Drop what is behind the damage in a log on which no server starts, and say so. The damaged
    /// log is put aside. A backup is better.
    Salvage(DirFlags),
}

/// Flags of `highwater backup`.
#[derive(Clone, Debug, Args, Serialize)]
pub struct BackupFlags {
    /// Where the backup goes.
    #[arg(value_name = "DIR")]
    #[serde(skip)]
    pub dir: PathBuf,
    /// Where the server speaks the Postgres protocol [default: 127.0.0.1:4566]
    /// [env: HIGHWATER_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Address>,
    /// TOML file with the server's options [env: HIGHWATER_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// Flags of `highwater restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreFlags {
    /// Where the backup is.
    #[arg(value_name = "DIR")]
    pub backup: PathBuf,
    /// What is to be made.
    #[command(flatten)]
    pub to: DirFlags,
}

/// Flags of what works on a data directory.
#[derive(Clone, Debug, Args, Serialize)]
pub struct DirFlags {
    /// The data directory [default: ./highwater-data] [env: HIGHWATER_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// TOML file with the server's options [env: HIGHWATER_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// Flags that settle [`crate::config::Config`].
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct ServerFlags {
    /// Directory for the server's data, created if missing [default: ./highwater-data]
    /// [env: HIGHWATER_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Where to speak the Postgres protocol; port 0 takes a free one [default: 127.0.0.1:4566]
    /// [env: HIGHWATER_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Address>,
    /// Where to serve /livez, /readyz and /metrics; port 0 takes a free one [default:
    /// 127.0.0.1:4567] [env: HIGHWATER_HTTP]
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Address>,
    /// Number of shards, a power of two up to 256; results never depend on it [default: the number
    /// of cores, rounded up to a power of two] [env: HIGHWATER_SHARDS]
    #[arg(long, value_name = "N", value_parser = parse_shards)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
    /// Memory that the state of queries may take, e.g. 512MB or 2GB; rows beyond that are kept in a
    /// file [default: 70 % of the machine's] [env: HIGHWATER_MEMORY_LIMIT]
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Size>,
    /// TOML file with the same options, written data_dir, listen, http, shards, memory_limit; the
    /// environment and flags override it [env: HIGHWATER_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Most rows per delta that enters a query [default: 65536] [env: HIGHWATER_BATCH_ROWS]
    #[arg(long, value_name = "N", hide = true, value_parser = parse_batch_rows)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_rows: Option<usize>,
    /// Rows of a stream from which on those in memory go to a file [default: 131072] [env:
    /// HIGHWATER_HISTORY_ROWS]
    #[arg(long, value_name = "N", value_parser = parse_history_rows)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_rows: Option<usize>,
}

/// Flags of `highwater demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoFlags {
    /// How many times faster than in reality the week passes; 0 is as fast as possible
    #[arg(long, value_name = "N", default_value_t = 3600)]
    pub speed_up: u32,
    /// Replay only the first ROWS departures of 6063
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<usize>,
    /// Keep serving at the end, until SIGINT or SIGTERM
    #[arg(long)]
    pub stay: bool,
    /// Flags of the server. Without a data directory the demo uses one of its own and removes it.
    #[command(flatten)]
    pub server: ServerFlags,
}

fn parse_shards(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number".to_owned()).and_then(check_shards)
}

fn parse_batch_rows(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number".to_owned()).and_then(check_batch_rows)
}

fn parse_history_rows(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number".to_owned()).and_then(check_history_rows)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::{ENV_PREFIX, OPTIONS};

    #[test]
    fn bad_flags_end_with_code_2_and_name_the_flag() {
        for arguments in [["--shards", "3"], ["--listen", "x"], ["--batch-rows", "0"]] {
            let error = Cli::try_parse_from(["highwater", arguments[0], arguments[1]]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(arguments[0]), "{error}");
        }
    }

    #[test]
    fn serve_may_be_left_out() {
        Cli::command().debug_assert();
        let said = Cli::try_parse_from(["highwater", "serve", "--shards", "4"]).unwrap();
        assert!(matches!(said.command, Some(Command::Serve(flags)) if flags.shards == Some(4)));
        let unsaid = Cli::try_parse_from(["highwater", "--shards", "4"]).unwrap();
        assert_eq!((unsaid.command.is_none(), unsaid.serve.shards), (true, Some(4)));
        let demo =
            Cli::try_parse_from(["highwater", "demo", "--http", "[::1]:0", "--stay"]).unwrap();
        let Some(Command::Demo(demo)) = demo.command else { panic!("not a demo") };
        assert!(demo.stay && demo.speed_up == 3600 && demo.limit.is_none());
        assert_eq!(demo.server.http.unwrap().to_string(), "[::1]:0");
    }

    #[test]
    fn help_names_the_variable_of_every_shown_option() {
        let help = Cli::command().render_long_help().to_string();
        for option in OPTIONS.iter().chain(&["config"]).filter(|option| **option != "batch_rows") {
            let name = format!("{ENV_PREFIX}{}", option.to_uppercase());
            assert!(help.contains(&name), "{name} is missing in {help}");
        }
    }
}
