//! The demo.
use crate::cli::DemoFlags;
use crate::config::Config;
/// Defaults.
pub fn defaults() -> Config {
    Config::default()
}
/// Runs it.
pub async fn run(_config: &Config, _flags: &DemoFlags) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}
