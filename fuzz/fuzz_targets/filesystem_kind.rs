#![no_main]
stampo_fuzz::fuzzer!("filesystem_kind");
