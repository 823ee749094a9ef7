//! `highwater backup`, `restore`, `check` and `salvage`: work on data directories.

use std::path::Path;
use std::sync::Arc;

use tokio_postgres::NoTls;

use crate::clock::SystemClock;
use crate::config::{Address, Config};
use crate::data_dir::DataDir;
use crate::engine::{Checked, Engine, EngineOptions};
use crate::storage::log::{Disk, Generations, Salvaged};

/// Result of a command.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Lets the server at an address write a backup into a directory of its machine.
pub async fn back_up(server: &Address, dir: &Path) -> Result<String> {
    let dir = std::path::absolute(dir)?;
    let mut config = tokio_postgres::Config::new();
    config.host(&server.host).port(server.port).user("postgres").dbname("postgres");
    config.application_name("highwater backup");
    let (client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let name = dir.to_string_lossy().replace('\'', "''");
    let done = client.batch_execute(&format!("BACKUP TO '{name}'")).await;
    drop(client);
    if let Err(error) = done {
        let Some(said) = error.as_db_error() else { return Err(error.into()) };
        let more = [said.detail(), said.hint()].into_iter().flatten();
        let parts: Vec<&str> = std::iter::once(said.message()).chain(more).collect();
        return Err(parts.join(": ").into());
    }
    connection.await??;
    Ok(format!("backup written to {}", dir.display()))
}

/// Makes a data directory from a backup, which is checked first.
pub async fn restore(from: &Path, config: &Config) -> Result<String> {
    let backup = DataDir::inspect(from)?;
    let checked = told(&backup, config).await?;
    let mut data_dir = DataDir::begin(&config.data_dir)?;
    backup.copy_to(&mut data_dir)?;
    Ok(format!("restored to {}: {}", config.data_dir.display(), text(checked)))
}

/// Lets a server start on a data directory with a damaged log: on what is before the damage.
pub fn salvage(config: &Config) -> Result<String> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let salvaged = Generations::salvage(Disk::default(), &data_dir.log())?;
    let Some(Salvaged { records, damage, aside }) = salvaged else {
        return Ok("nothing was changed: the log is sound, or none of it can be read".to_owned());
    };
    Ok(format!(
        "{damage}\nkept: {records} records before it\ndropped: all behind it; {} has them",
        aside.display()
    ))
}

/// Checks a data directory that no server runs on.
pub async fn check(config: &Config) -> Result<String> {
    let data_dir = DataDir::inspect(&config.data_dir)?;
    let checked = told(&data_dir, config).await?;
    Ok(format!("{} is sound: {}", config.data_dir.display(), text(checked)))
}

async fn told(data_dir: &DataDir, config: &Config) -> Result<Checked> {
    let options = EngineOptions::of(config);
    let (log, history) = (data_dir.log(), data_dir.history());
    Ok(Engine::check(options, Arc::new(SystemClock), &log, &history).await?)
}

fn text(checked: Checked) -> String {
    let Checked { records, position, time, objects } = checked;
    let time = chrono::DateTime::from_timestamp_micros(time.0);
    let time = time.map_or_else(String::new, |time| time.format(", %F %T%.6f UTC").to_string());
    format!("{records} records, {objects} objects, up to commit {}{time}", position.0)
}
