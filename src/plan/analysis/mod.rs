//! Analyses of a plan: what it costs, how much memory it needs, how it can be cut, and the plan as text.

mod cost;
mod explain;
mod memory;
mod segments;
mod spans;
mod terms;

pub use cost::Cost;
pub use memory::{Demand, Peak};
pub use segments::Segment;
pub use spans::Spans;
pub use terms::{Term, Terms};
