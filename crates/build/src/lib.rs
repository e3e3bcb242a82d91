//! Template disks made from distribution packages.
