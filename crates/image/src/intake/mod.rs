//! The one place where untrusted image bytes enter.
