//! Architectures: tables of logits, and the discrete cells that they stand for.

pub mod genotype;
mod strongest;
mod tables;

pub use genotype::Genotype;
pub use strongest::derive;
pub use tables::{entropy, softmax};
