//! The bilevel search: hypergradients, the order of updates, and a whole run.

pub mod hypergradient;
mod memory;
mod progress;
mod run;
mod start;
mod step;
mod trajectory;

pub use memory::{batch_size, fitting_batch, with_estimate};
pub use progress::Progress;
pub use run::{Outcome, Sources, run};
pub use start::start;
pub use step::capture::{Body, Recorder, Replay};
pub use step::engine::{Carried, State, StepSettings};
pub use step::stepper::{StepOutcome, step};
pub use trajectory::Trajectory;
