#![no_main]
stampo_fuzz::fuzzer!("agent_reply");
