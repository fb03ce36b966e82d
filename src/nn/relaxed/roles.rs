//! Which losses of a step share their noise.

/// The losses that share the noise of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The validation loss of the α step.
    Alpha,
    /// Every training loss of the step: of the weights, of the virtual step, at w ± εv, in products.
    Weight,
}

impl Role {
    /// Its name in the streams of random numbers.
    pub fn name(self) -> &'static str {
        match self {
            Role::Alpha => "alpha",
            Role::Weight => "weight",
        }
    }
}

/// The noise that a loss sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// None: the mean of the mixing weights.
    Mean,
    /// The noise of a role and of a part of its batch: the number of the micro-batch.
    Part(Role, usize),
}
