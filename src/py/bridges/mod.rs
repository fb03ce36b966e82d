//! Traits of the engine that Python objects implement.

mod collective;
mod criterion;
mod graph;
mod network;
mod observer;
mod operation;
mod sources;

pub use collective::PyCollective;
pub use criterion::{criterion_of, measure_of};
pub use graph::graph_capture;
pub use network::{Definition, PyNetwork};
pub use observer::PyObserver;
pub use operation::own_modules;
pub use sources::source;
