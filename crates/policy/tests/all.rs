//! All tests of conformity, as one program.

mod disk;
mod docs;
mod export;
mod guests;
mod hostile;
mod packs;
mod retention;
mod table;
