#![no_main]
stampo_fuzz::fuzzer!("attest_bundle");
