//! The stampo command.
fn main() {}
