#![no_main]
stampo_fuzz::fuzzer!("user_data");
