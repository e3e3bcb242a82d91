#![no_main]
stampo_fuzz::fuzzer!("values");
