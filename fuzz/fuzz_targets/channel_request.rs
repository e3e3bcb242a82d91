#![no_main]
stampo_fuzz::fuzzer!("channel_request");
