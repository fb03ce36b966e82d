//! Relaxations: the functions R that turn a table of logits α into mixing weights m = R(α; s).
//!
//! R stands between α and the network: L(w, α) = ℓ(w, m), so ∂L/∂α = J_Rᵀ ∂ℓ/∂m, and an exact second order passes
//! through the same J_Rᵀ because R does not contain w. Each relaxation is one file with a function, its transposed
//! Jacobian by hand, and its mean on the host.

mod derive;
mod gumbel;
mod identity;
mod restrictions;
mod sigmoid;
mod softmax;
mod state;

use crate::error::Result;
use crate::json::Field;
use crate::variant::{Chosen, Domain, Parameter, Variant};

pub use derive::derive;
pub use restrictions::{Restrictions, Tables, shown_over_time};
pub use state::TableState;

/// τ of relaxations that divide by a temperature.
const TEMPERATURE: Parameter = Parameter { name: "temperature", default: 1.0, domain: Domain::Positive };

/// What a relaxation draws, for every entry of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Nothing.
    None,
    /// Independent numbers of the standard Gumbel distribution, −ln(−ln U).
    Gumbel,
}

/// A relaxation. Masked logits are −∞ in what its functions get; the caller sets masked weights and gradients to 0.
pub trait Relax: Variant {
    /// What it draws for every step.
    fn noise(&self) -> Noise {
        Noise::None
    }

    /// Whether the mixing weights that it draws are 1 for one candidate of a row, or 0 for all.
    fn samples_one(&self) -> bool {
        false
    }

    /// Whether the mixing weights of a row are shares of 1.
    fn shares(&self) -> bool {
        true
    }

    /// The mean mixing weights of one row, which evaluation, selection and plots use. `values`: the parameters.
    fn mean(&self, row: &[f64], values: &[f64]) -> Vec<f64>;

    /// m = R(α) of a table [rows, columns]; without noise the mean.
    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &Inputs) -> Result<tch::Tensor>;

    /// J_Rᵀ·gradient at α, where m = R(α), all [rows, columns].
    #[cfg(feature = "torch")]
    fn backward(
        &self,
        alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        at: &Inputs,
    ) -> Result<tch::Tensor>;
}

/// What a relaxation reads besides α, on the device.
#[cfg(feature = "torch")]
pub struct Inputs<'a> {
    /// The parameters, scalars.
    pub values: &'a [tch::Tensor],
    /// The numbers that were drawn, [rows, columns].
    pub noise: Option<&'a tch::Tensor>,
}

/// All relaxations.
pub const ALL: &[&dyn Relax] = &[&softmax::Softmax, &gumbel::Gumbel, &identity::Identity, &sigmoid::Sigmoid];

/// A relaxation with the values of its parameters.
pub type Relaxation = Chosen<dyn Relax>;

impl Default for Relaxation {
    fn default() -> Self {
        Chosen::new(ALL[0])
    }
}

/// The relaxation that a field of a configuration gives.
pub(crate) fn read(field: &Field) -> Result<Relaxation> {
    Chosen::read(field, ALL)
}
