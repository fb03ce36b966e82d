//! The bilevel search: hypergradients, steps, and a whole run.

mod curvature;
mod decisions;
mod evaluate;
mod feed;
mod fingerprint;
mod freed_memory;
pub mod hypergradient;
mod memory;
mod progress;
mod replicated;
mod resume;
mod run;
mod sampled;
mod select;
mod start;
mod step;
mod trajectory;

pub use curvature::largest_eigenvalue;
pub use fingerprint::Fingerprint;
pub use freed_memory::FreedMemory;
pub use memory::{batch_size, fitting_batch, with_estimate};
pub use progress::Progress;
pub use run::{Outcome, Search, Sources, run};
pub use select::{AtSelection, Select};
pub use start::start;
pub use step::capture::{Body, GraphCapture, Replay};
pub use step::engine::{Carried, State, StepSettings};
pub use step::stepper::{StepOutcome, step, step_with};
pub use step::terms::Terms;
pub use trajectory::Trajectory;
