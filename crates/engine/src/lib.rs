//! One file per operation, a runner and recovery.
