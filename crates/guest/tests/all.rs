//! All tests of the inside of a guest's disk, as one program: its threads are busy to the end, and
//! it is linked once.

mod drift_ext4;
mod drift_tree;
mod fs_corrupt;
mod fs_discard;
mod fs_hostile;
mod fs_journal;
mod fs_open;
mod fs_support;
mod fs_torture;
mod inspect_disk;
mod inspect_hostile;
mod inspect_parsers;
mod inspect_rpm;
mod inspect_system;
mod inspect_tree;
mod passport_facts;
mod personalise_ext4;
mod personalise_fields;
mod personalise_hostile;
mod personalise_seed;
mod personalise_support;
mod personalise_users;
mod proof_engine;
mod proof_scan;
mod proof_table;
mod seal_agent;
mod seal_docs;
mod seal_ext4;
mod seal_firstboot;
mod seal_items;
mod seal_plan;
