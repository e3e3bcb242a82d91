//! Reports in forms that other programs read.

mod junit;
mod sarif;

pub use junit::junit;
pub use sarif::sarif;
