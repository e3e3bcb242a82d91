#![no_main]
stampo_fuzz::fuzzer!("partition_table");
