#![no_main]
stampo_fuzz::fuzzer!("inventory_versions");
