//! The `mailserver` program: parses, calls `run`, exits.

fn main() {}
