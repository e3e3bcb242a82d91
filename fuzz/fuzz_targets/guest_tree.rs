#![no_main]
stampo_fuzz::fuzzer!("guest_tree");
