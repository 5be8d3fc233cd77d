//! The operator's tool: one table of commands.

/// Runs the program; the value is its exit status.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
