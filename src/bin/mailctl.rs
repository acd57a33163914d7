//! The `mailctl` program: parses, calls `run`, exits.

fn main() -> std::process::ExitCode {
    correio::cli::main()
}
