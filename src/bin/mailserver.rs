//! The `mailserver` program: parses, calls `run`, exits.

/// sled clones a tree node for each small record, on one thread, and frees it on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    correio::mailserver::main(std::env::args_os())
}
