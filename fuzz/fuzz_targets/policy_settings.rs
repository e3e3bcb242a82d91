#![no_main]
stampo_fuzz::fuzzer!("policy_settings");
