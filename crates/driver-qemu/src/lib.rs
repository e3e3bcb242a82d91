//! Guests as local QEMU processes, without a daemon.
