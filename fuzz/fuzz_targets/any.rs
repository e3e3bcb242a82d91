//! All targets in one program, for `scripts/fuzz`: STAMPO_FUZZ_TARGET names the one to run.
#![no_main]

stampo_fuzz::fuzzer!(std::env::var("STAMPO_FUZZ_TARGET").unwrap_or_default());
