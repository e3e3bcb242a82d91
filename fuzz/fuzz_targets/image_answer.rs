#![no_main]
stampo_fuzz::fuzzer!("image_answer");
