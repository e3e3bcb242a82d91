//! Implements the API over the engine.
