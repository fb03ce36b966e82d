//! The bilevel search: hypergradients, the order of updates, and a whole run.

mod capture;
mod engine;
mod forms;
pub mod hypergradient;
mod memory;
mod panel;
mod progress;
mod run;
mod start;
mod stepper;
mod trajectory;
mod undo;

pub use capture::{Body, Recorder, Replay};
pub use engine::{Carried, State, StepSettings};
pub use memory::{batch_size, fitting_batch, with_estimate};
pub use progress::Progress;
pub use run::{Outcome, Sources, run};
pub use start::start;
pub use stepper::{StepOutcome, step};
pub use trajectory::Trajectory;
