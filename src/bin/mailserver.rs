//! The `mailserver` program: parses, calls `run`, exits.

fn main() -> std::process::ExitCode {
    correio::mailserver::main(std::env::args_os())
}
