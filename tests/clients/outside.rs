//! Programs from outside: they may be missing on a developer's machine, never in CI.

use std::process::{Command, Output};

/// Runs `test` if `program --version` works; else says so aloud, or fails in CI.
pub fn with_program(program: &str, test: impl FnOnce()) {
    with_command(Command::new(program).arg("--version"), program, test);
}

/// Runs `test` if `probe` succeeds; else says so aloud, or fails in CI.
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
pub fn with_command(probe: &mut Command, what: &str, test: impl FnOnce()) {
    if probe.output().is_ok_and(|output| output.status.success()) {
        test();
        return;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing, and CI needs it");
    eprintln!(
        "\n!!!!!!!! NOT TESTED: {what} is missing; see .ci/run for how to install it !!!!!!!!\n"
    );
}

/// What a program printed, if it ended well.
pub fn printed(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out
}
