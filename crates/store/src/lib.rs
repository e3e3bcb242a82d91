//! The catalog: one file per table.
