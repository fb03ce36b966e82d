//! Architectures: tables of logits, and the discrete cells that they stand for.

mod architecture;
mod cells;
pub mod decision;
pub mod genotype;
pub mod selection;
mod tables;

pub use architecture::{Architecture, Pick};
pub use decision::Decision;
pub use genotype::Genotype;
pub use selection::Selection;
pub use tables::{AUXILIARY_SKIP, EDGE_WEIGHTS, LogitRow, LogitTable, TableRole, entropy_of, softmax};
