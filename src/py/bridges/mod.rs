//! Traits of the engine that Python objects implement.

mod criterion;
mod graph;
mod observer;
mod sources;

pub use criterion::criterion_of;
pub use graph::graph_capture;
pub use observer::PyObserver;
pub use sources::source;
