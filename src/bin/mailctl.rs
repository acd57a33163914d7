//! The `mailctl` program: parses, calls `run`, exits.

fn main() {}
