#![no_main]
stampo_fuzz::fuzzer!("sidecar");
