//! One search step: the order of its updates, its scalars, its rollback, and its capture as a graph.

pub mod capture;
pub mod engine;
pub mod rollback;
pub mod scalars;
pub mod stepper;
pub mod terms;
