#![no_main]
stampo_fuzz::fuzzer!("ext4_write");
