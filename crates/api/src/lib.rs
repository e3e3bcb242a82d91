//! The API as a trait and its wire types.
