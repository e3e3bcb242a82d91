#![no_main]
stampo_fuzz::fuzzer!("api_body");
