//! The bilevel search: hypergradients, the order of updates, and a whole run.

pub mod engine;
mod forms;
pub mod hypergradient;
mod memory;
mod progress;
mod run;
mod trajectory;

pub use engine::{State, StepOutcome, StepSettings};
pub use forms::forms;
pub use memory::{fitting_batch, with_estimate};
pub use progress::Progress;
pub use run::{Outcome, Sources, run};
pub use trajectory::Trajectory;
