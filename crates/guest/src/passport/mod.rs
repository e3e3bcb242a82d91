//! passport.
