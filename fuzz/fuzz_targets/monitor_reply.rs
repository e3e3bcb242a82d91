#![no_main]
stampo_fuzz::fuzzer!("monitor_reply");
