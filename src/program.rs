//! The program: flags and environment to settings, settings to a server.
//!
//! It is in the library so that the compiler makes the server once, and not again for the binary.

use std::path::Path;
use std::process::ExitCode;

use crate::backup;
use crate::cli::{Cli, Command};
use crate::config::Config;
use crate::fault;
use crate::server::{Server, signals};
use crate::telemetry;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde::Serialize;

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(flags) => {
            log("info");
            arm();
            run(serve(&settings(&Config::default(), flags.config.as_deref(), &flags)))
        }
        Command::Demo(flags) => {
            log("warn");
            let file = flags.server.config.as_deref();
            let demo = settings(&crate::demo::defaults(), file, &flags.server);
            run(async { Ok(crate::demo::run(&demo, &flags).await?) })
        }
        Command::Backup(flags) => {
            log("warn");
            let config = settings(&Config::default(), flags.config.as_deref(), &flags);
            run(tell(backup::back_up(&config.listen, &flags.dir)))
        }
        Command::Restore(flags) => {
            log("warn");
            let config = settings(&Config::default(), flags.to.config.as_deref(), &flags.to);
            run(tell(backup::restore(&flags.backup, &config)))
        }
        Command::Check(flags) => {
            log("warn");
            let config = settings(&Config::default(), flags.config.as_deref(), &flags);
            run(tell(backup::check(&config)))
        }
        Command::Salvage(flags) => {
            log("warn");
            let config = settings(&Config::default(), flags.config.as_deref(), &flags);
            run(tell(async { backup::salvage(&config) }))
        }
    }
}

async fn serve(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let signal = signals()?;
    let server = Server::start(config).await?;
    announce(&server);
    Ok(server.run_until(signal).await?)
}

/// Says what a command came to.
#[expect(clippy::print_stdout, reason = "what was asked for")]
async fn tell(command: impl Future<Output = backup::Result<String>>) -> backup::Result<()> {
    println!("{}", command.await?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the one line that scripts wait for")]
fn announce(server: &Server) {
    println!("{}", server.ready_line());
}

/// Arms the place that a test names.
fn arm() {
    let armed = std::env::var(fault::VARIABLE).map_or(Ok(()), |text| fault::arm(&text));
    armed.unwrap_or_else(|error| reject(&std::io::Error::other(error)));
}

fn log(level: &str) {
    telemetry::start(level).unwrap_or_else(|error| reject(&error));
}

fn settings(defaults: &Config, file: Option<&Path>, flags: &impl Serialize) -> Config {
    Config::load(defaults, file, environment(), flags).unwrap_or_else(|error| reject(&error))
}

/// The variables that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Stack of the threads that plan and run statements: a query over many views is as deep as they
/// are.
const STACK_BYTES: usize = 32 << 20;

/// Ends the process with code 2, as for a bad flag.
fn reject(error: &dyn std::error::Error) -> ! {
    Cli::command().error(ErrorKind::ValueValidation, error).exit()
}

#[expect(clippy::print_stderr, reason = "the last words of the process")]
fn run(server: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_stack_size(STACK_BYTES).build();
    let result = runtime.map_err(Into::into).and_then(|runtime| {
        let result = runtime.block_on(server);
        // A thread may be waiting for bytes that never come, as of a pipe that nobody writes to.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("highwater: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
