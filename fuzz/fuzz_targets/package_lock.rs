#![no_main]
stampo_fuzz::fuzzer!("package_lock");
