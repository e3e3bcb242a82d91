#![no_main]
stampo_fuzz::fuzzer!("clone_spec");
