//! Real guests. They take minutes, so `cargo test` leaves them out; `./test` runs them.

mod real {
    mod canary;
    mod cloud_init;
    mod corrupted;
    mod forked;
    mod frozen;
    mod identity;
    mod importing;
    mod instant;
    mod machine;
    mod pooled;
    mod web;
}
